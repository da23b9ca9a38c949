"""The real model with many streams at once, and the time to the first token of a second turn."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from application.chat.inference import (
    Completion,
    Delta,
    GenerationRequest,
    Role,
    Sampling,
    Turn,
)
from benchmarks.figures import Figure, Goal, of_repeats, percentile
from infrastructure.inference.answers.tokenizer import GemmaTokenizer
from infrastructure.inference.models.engine import OnnxEngine, OnnxEngineSettings
from infrastructure.inference.prepared.manifest import TOKENIZER_FILE, read_manifest
from infrastructure.inference.sessions.host_session import release_freed_memory

_MODEL = "gemma3-270m"
_TOKENS = 96
_REPEATS = 5
_BANNED = -1000.0
_QUESTIONS = (
    "Write a long story about a lighthouse keeper and the sea.",
    "Tell me about the history of Rome.",
    "Explain how rain is made.",
    "Name many animals and what they eat.",
    "Describe your favourite city.",
    "How does the engine of a car work?",
    "What should I cook tonight?",
    "Tell me a tale of two brothers.",
)
# About 400 tokens, and then 18 more.
_EARLIER = "The harbour lies in the east of the town and the ships in it are small. " * 23
_FOLLOWING = "And now tell me in a few words what lies in the east of the town?"


@dataclass(frozen=True, kw_only=True)
class _Stream:
    """times: of the first token and of each further one, in seconds."""

    asked_at: float
    times: list[float]
    completion: Completion


def serving_speed(models_dir: Path, *, repeats: int = _REPEATS) -> list[Figure]:
    return asyncio.run(_measure(models_dir, repeats))


async def _measure(models_dir: Path, repeats: int) -> list[Figure]:
    """Everything in turn, so that other work on the machine affects all of it alike."""
    keeping = OnnxEngine(OnnxEngineSettings(models_dir=models_dir))
    forgetting = OnnxEngine(OnnxEngineSettings(models_dir=models_dir, kept_bytes_max=0))
    endless = endless_sampling(models_dir)
    runs: dict[int, list[list[_Stream]]] = {1: [], 8: [], 16: []}
    anew: list[float] = []
    second: list[float] = []
    try:
        for number in range(repeats):
            for clients, done in runs.items():
                done.append(await _clients(keeping, clients, endless))
            asked = f"{number}. {_EARLIER}"
            anew.append(await _second_turn(forgetting, asked))
            second.append(await _second_turn(keeping, asked))
    finally:
        await keeping.close()
        await forgetting.close()
    return [*_stream_figures(runs), *_turn_figures(anew, second)]


def _stream_figures(runs: dict[int, list[list[_Stream]]]) -> list[Figure]:
    rates = {clients: [_aggregate(run) for run in done] for clients, done in runs.items()}
    times = [many / one for one, many in zip(rates[1], rates[8], strict=True)]
    shares = [most / many * 100 for many, most in zip(rates[8], rates[16], strict=True)]
    gaps = [_gaps_ms(run) for run in runs[16]]
    spread = [percentile(run, 99) / median(run) for run in gaps]
    how = f"270M int8, {_TOKENS} tokens each, counted while all of them stream"
    return [
        of_repeats("Decode, 1 stream", "tokens/s", rates[1], how),
        of_repeats("Decode, 8 streams", "tokens/s", rates[8], how),
        of_repeats(
            "Decode, 8 streams over 1",
            "times",
            times,
            "the two lines above, run by run",
            Goal(bound=3.3, at_least=True),
        ),
        of_repeats("Decode, 16 streams", "tokens/s", rates[16], how),
        of_repeats(
            "Decode, 16 streams over 8",
            "%",
            shares,
            "run by run",
            Goal(bound=90, at_least=True),
        ),
        of_repeats("16 streams, gap between tokens, p50", "ms", list(map(median, gaps)), how),
        of_repeats(
            "16 streams, gap between tokens, p99 over p50",
            "times",
            spread,
            "from the first token of each to its last, while others are still being admitted",
            Goal(bound=5),
        ),
    ]


def _turn_figures(anew: list[float], second: list[float]) -> list[Figure]:
    ratios = [fresh / kept for fresh, kept in zip(anew, second, strict=True)]
    how = "about 400 tokens of conversation and 18 new ones, after a header of about 400"
    return [
        of_repeats("Time to first token, nothing kept", "ms", anew, how),
        of_repeats("Time to first token, second turn", "ms", second, how),
        of_repeats(
            "Second turn faster by",
            "times",
            ratios,
            "the two lines above, run by run",
            Goal(bound=8, at_least=True),
        ),
    ]


def endless_sampling(models_dir: Path) -> Sampling:
    """Greedy, but never a token that ends a line or a turn, so that no answer stops early."""
    folder = models_dir / _MODEL
    manifest = read_manifest(folder)
    tokenizer = GemmaTokenizer.load(
        folder / TOKENIZER_FILE, bos_id=manifest.bos_id, stop_ids=manifest.stop_ids
    )
    release_freed_memory()
    lines = (tokenizer.id_of("\n" * count) for count in range(1, 32))
    banned = {*manifest.stop_ids, *(token for token in lines if token is not None)}
    return Sampling(logit_bias=tuple((token, _BANNED) for token in sorted(banned)))


async def _clients(engine: OnnxEngine, clients: int, sampling: Sampling) -> list[_Stream]:
    """As many people ask at once."""
    asked = [f"{_QUESTIONS[number % 8]} ({number})" for number in range(clients)]
    return await asyncio.gather(
        *(
            _stream(engine, [Turn(role=Role.USER, content=text)], str(number), sampling, _TOKENS)
            for number, text in enumerate(asked)
        )
    )


async def _second_turn(engine: OnnxEngine, asked: str) -> float:
    """Milliseconds to the first token of the second answer in a conversation."""
    turns = [Turn(role=Role.USER, content=asked)]
    first = await _stream(engine, turns, "somebody", Sampling(), 8)
    turns.append(Turn(role=Role.ASSISTANT, content=first.completion.text or "Yes."))
    turns.append(Turn(role=Role.USER, content=_FOLLOWING))
    # People read more slowly than the engine writes; it works ahead in the meantime.
    await asyncio.sleep(0.5)
    second = await _stream(engine, turns, "somebody", Sampling(), 2)
    return (second.times[0] - second.asked_at) * 1000


async def _stream(
    engine: OnnxEngine, turns: Sequence[Turn], owner: str, sampling: Sampling, tokens: int
) -> _Stream:
    prompt = await engine.prepare_prompt(_MODEL, turns, completion_tokens_wanted=tokens)
    request = GenerationRequest(prompt=prompt, max_tokens=tokens, sampling=sampling, owner=owner)
    asked_at, times = time.perf_counter(), list[float]()
    async for item in engine.stream(request):
        if isinstance(item, Delta) and len(times) < item.completion_tokens:
            times.append(time.perf_counter())
        elif isinstance(item, Completion):
            return _Stream(asked_at=asked_at, times=times, completion=item)
    raise RuntimeError("the engine ended without a completion")


def _aggregate(run: Sequence[_Stream]) -> float:
    """Tokens per second of all streams together, from when the last began until the first ended."""
    began, ended = max(one.times[0] for one in run), min(one.times[-1] for one in run)
    tokens = sum(sum(began < moment <= ended for moment in one.times) for one in run)
    return tokens / (ended - began)


def _gaps_ms(run: Sequence[_Stream]) -> list[float]:
    return [
        (later - earlier) * 1000
        for one in run
        for earlier, later in zip(one.times, one.times[1:], strict=False)
    ]
