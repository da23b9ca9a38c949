"""Tokens per second of the real model at batch 1, compared with what the memory's bandwidth allows
and with other runners.

    python -m benchmarks.inference.decode [--peers [NAME …]] [--quick]

Peers get environments of their own under .venv-peers, made on first use (about 6 GB and, as
llama.cpp is compiled, half an hour); one that cannot be had is named in the table.
"""

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np

from application.chat.inference import (
    Completion,
    GenerationRequest,
    PreparedPrompt,
    Role,
    Sampling,
    Turn,
)
from benchmarks.figures import Figure, Goal, of_repeats, table
from benchmarks.inference.engine_memory import engine_memory
from benchmarks.inference.peers import GOALS, Speeds, side_by_side, started_peers
from benchmarks.inference.serving import endless_sampling
from infrastructure.inference.models.engine import OnnxEngine, OnnxEngineSettings
from infrastructure.inference.prepared.manifest import WEIGHTS_FILE
from infrastructure.inference.preparing.prepare import prepare_model
from infrastructure.inference.sessions.needs import usable_cores

_MODEL = "gemma3-270m"
_TOKENS = 128
_REPEATS = 9
_CHUNK_BYTES = 256 * 1024 * 1024
_QUESTION = "Write a long story about a lighthouse keeper and the sea."
_LONG = "The sea is wide and the ships on it are small. " * 32


def prepared_models(folder: Path) -> Path:
    """The folder with the model in it, made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    prepare_model(_MODEL, folder, lambda _fraction, _sentence: None)
    return folder


def decode_speed(models_dir: Path) -> list[Figure]:
    bytes_per_s = read_bandwidth()
    weights_bytes = (models_dir / _MODEL / WEIGHTS_FILE).stat().st_size
    limit = bytes_per_s / weights_bytes
    decoded, prefilled = asyncio.run(_measure(models_dir))
    threads = usable_cores()
    return [
        Figure(
            what="Floor: memory read bandwidth",
            unit="GB/s",
            value=bytes_per_s / 1e9,
            conditions=f"sums over {_CHUNK_BYTES >> 20} MB by {threads} threads each; best of 10",
        ),
        of_repeats(
            "Decode, batch 1",
            "tokens/s",
            decoded,
            f"270M int8, greedy, {_TOKENS} tokens behind a prompt of about 400, {threads} threads;"
            f" the bandwidth allows {limit:.0f}, as {weights_bytes / 1e6:.0f} MB are read for each",
        ),
        Figure(
            what="Decode, share of the bandwidth limit",
            unit="%",
            value=median(decoded) / limit * 100,
            conditions="the two lines above",
            goal=Goal(bound=72, at_least=True),
        ),
        of_repeats(
            "Prefill, batch 1",
            "tokens/s",
            prefilled,
            "a prompt of about 780 tokens, none of them kept, to its first token",
            Goal(bound=950, at_least=True),
        ),
    ]


def read_bandwidth() -> float:
    """Bytes per second that all cores together read from memory."""
    threads = usable_cores()
    chunks = [np.ones(_CHUNK_BYTES // 8, np.int64) for _ in range(threads)]
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(10):
            began = time.perf_counter()
            list(pool.map(np.sum, chunks))
            best = max(best, threads * _CHUNK_BYTES / (time.perf_counter() - began))
    return best


async def _measure(models_dir: Path) -> tuple[list[float], list[float]]:
    engine = OnnxEngine(OnnxEngineSettings(models_dir=models_dir, kept_bytes_max=0))
    endless = endless_sampling(models_dir)
    decoded, prefilled = [], []
    try:
        for _ in range(_REPEATS):
            done = await _answer(engine, _QUESTION, _TOKENS, endless)
            # The prefill itself yields the first token.
            decoded.append((done.completion_tokens - 1) / done.decode_ms * 1000)
            long = await _answer(engine, _LONG, 1, endless)
            prefilled.append(long.prompt_tokens / long.prefill_ms * 1000)
    finally:
        await engine.close()
    return decoded, prefilled


async def _answer(engine: OnnxEngine, question: str, tokens: int, sampling: Sampling) -> Completion:
    turns = [Turn(role=Role.USER, content=question)]
    prompt = await engine.prepare_prompt(_MODEL, turns, completion_tokens_wanted=tokens)
    request = GenerationRequest(prompt=prompt, max_tokens=tokens, sampling=sampling)
    async for item in engine.stream(request):
        if isinstance(item, Completion):
            return item
    raise RuntimeError("the engine ended without a completion")


class OurEngine:
    """A `Runner`: the whole engine, as the service uses it. The model ends its answers."""

    title = "our engine, int8"

    def __init__(self, models_dir: Path) -> None:
        self._runner = asyncio.Runner()
        self._engine = OnnxEngine(OnnxEngineSettings(models_dir=models_dir))

    def ask(self, prompt: Sequence[int], tokens: int) -> Speeds:
        done = self._runner.run(self._ask(prompt, tokens))
        return Speeds(
            prefill=len(prompt) / done.prefill_ms * 1000,
            decode=(done.completion_tokens - 1) / max(done.decode_ms, 1e-6) * 1000,
        )

    def ids_of(self, text: str) -> tuple[int, ...]:
        """A question in the engine's own template."""
        turns = [Turn(role=Role.USER, content=text)]
        asked = self._engine.prepare_prompt(_MODEL, turns, completion_tokens_wanted=_TOKENS)
        return self._runner.run(asked).token_ids

    def close(self) -> None:
        self._runner.run(self._engine.close())
        self._runner.close()

    async def _ask(self, prompt: Sequence[int], tokens: int) -> Completion:
        prepared = PreparedPrompt(
            model=_MODEL, token_ids=tuple(prompt), turns_dropped=0, max_tokens=tokens
        )
        request = GenerationRequest(
            prompt=prepared, max_tokens=tokens, sampling=Sampling(temperature=0)
        )
        async for item in self._engine.stream(request):
            if isinstance(item, Completion):
                return item
        raise RuntimeError("the engine ended without a completion")


def beside_peers(models_dir: Path, names: Sequence[str], *, rounds: int) -> list[Figure]:
    with started_peers(names) as (peers, missing):
        ours = OurEngine(models_dir)
        try:
            # Each begins differently, so that nothing kept of an earlier prompt helps.
            begin = ours.ids_of("Hi")[0]
            long = [(begin, 1000 + number, *ours.ids_of(_LONG)[1:]) for number in range(rounds)]
            return side_by_side(
                ours, peers, missing, short=ours.ids_of(_QUESTION), long=long, tokens=_TOKENS
            )
        finally:
            ours.close()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference.decode")
    parser.add_argument("--peers", nargs="*", choices=tuple(GOALS), help="all where none is named")
    parser.add_argument("--quick", action="store_true", help="three rounds instead of nine")
    parser.add_argument("--models", type=Path, default=Path("data/bench-models"))
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.ERROR)
    models_dir = prepared_models(options.models)
    figures = [*decode_speed(models_dir), *engine_memory(models_dir)]
    if options.peers is not None:
        names = options.peers or tuple(GOALS)
        figures += beside_peers(models_dir, names, rounds=3 if options.quick else _REPEATS)
    print(table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
