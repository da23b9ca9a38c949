"""Our engine compared with other runners of the same model, in turn within one run.

    python -m benchmarks.inference.decode --peers [NAME …]

Each peer is a process that keeps its model loaded and waits while the others are measured. In
every round each runner is asked for the same tokens after the same prompts, one after the other, so
that a busy moment of the machine does not fall on one of them alone; a ratio is the median of the
rounds' ratios.
"""

import contextlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from benchmarks.figures import Figure, Goal, of_repeats
from benchmarks.inference.peer_setup import KINDS, PeerFolder, PeerKind, PeerMissing
from infrastructure.inference.sessions.needs import usable_cores

# How many times faster than each of them decoding is meant to be.
GOALS = {"transformers": 3.0, "llama-cpp": 1.3, "genai": 1.5, "optimum": 2.0}


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """Tokens a second."""

    prefill: float
    decode: float


class Runner(Protocol):
    @property
    def title(self) -> str: ...

    def ask(self, prompt: Sequence[int], tokens: int) -> Speeds: ...


@dataclass
class PeerProcess:
    """A Runner. Raises PeerMissing when the process ends instead of answering."""

    kind: PeerKind
    process: "subprocess.Popen[str]"
    log: Path

    @property
    def title(self) -> str:
        return self.kind.title

    def ask(self, prompt: Sequence[int], tokens: int) -> Speeds:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps({"prompt": list(prompt), "tokens": tokens}) + "\n")
            self.process.stdin.flush()
        answer = self.read()
        if len(answer["ids"]) != tokens:
            raise PeerMissing(f"{self.title} gave {len(answer['ids'])} tokens, not {tokens}")
        return Speeds(
            prefill=len(prompt) / answer["prefill_s"],
            decode=(tokens - 1) / max(answer["decode_s"], 1e-9),
        )

    def read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            last = (self.log.read_text(errors="replace").strip().splitlines() or ["no words"])[-1]
            raise PeerMissing(f"it ended: {last[:200]}")
        return json.loads(line)


@dataclass
class Rounds:
    """What one runner reached in each round."""

    title: str
    decode: list[float] = field(default_factory=list)
    prefill: list[float] = field(default_factory=list)


@contextlib.contextmanager
def started_peers(names: Sequence[str]) -> Iterator[tuple[list[PeerProcess], dict[str, str]]]:
    """Those that run; and by name, why the others do not."""
    folder, running, missing = PeerFolder(), [], {}
    try:
        for kind in KINDS:
            if kind.name not in names:
                continue
            try:
                peer = _start(folder, kind)
                running.append(peer)
                peer.read()
            except PeerMissing as error:
                missing[kind.name] = str(error)
        yield [peer for peer in running if peer.kind.name not in missing], missing
    finally:
        for peer in running:
            peer.process.kill()
            peer.process.wait()


def _start(folder: PeerFolder, kind: PeerKind) -> PeerProcess:
    python, model = folder.python(kind), folder.model(kind)
    script, log = Path(__file__).with_name("peer.py"), python.parents[1] / "peer.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [str(python), str(script), kind.name, str(model), str(usable_cores())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    return PeerProcess(kind=kind, process=process, log=log)


def side_by_side(
    ours: Runner,
    peers: Sequence[PeerProcess],
    missing: dict[str, str],
    *,
    short: Sequence[int],
    long: Sequence[Sequence[int]],
    tokens: int,
) -> list[Figure]:
    """short: the prompt before the decoded tokens. long: one prompt to prefill for each round."""
    peers = [peer for peer in peers if _answers(peer, short, missing)]
    runners: list[Runner] = [ours, *peers]
    found = [Rounds(title=runner.title) for runner in runners]
    ours.ask(short, 4)
    for prompt in long:
        for runner, rounds in zip(runners, found, strict=True):
            rounds.decode.append(runner.ask(short, tokens).decode)
            rounds.prefill.append(runner.ask(prompt, 1).prefill)
    threads = usable_cores()
    said = f"270M, greedy, {tokens} tokens after {len(short)}, {threads} threads"
    filled = f"270M, {len(long[0])} tokens, {threads} threads"
    figures = [of_repeats(f"Decode, {found[0].title}", "tokens/s", found[0].decode, said)]
    figures.append(of_repeats(f"Prefill, {found[0].title}", "tokens/s", found[0].prefill, filled))
    for peer, rounds in zip(peers, found[1:], strict=True):
        figures += _beside(found[0], rounds, GOALS[peer.kind.name], said, filled)
    for kind in KINDS:
        if kind.name in missing:
            figures.append(_not_had(kind, missing[kind.name]))
    return figures


def _answers(peer: PeerProcess, prompt: Sequence[int], missing: dict[str, str]) -> bool:
    """Whether it answers at all; this also warms it up."""
    try:
        peer.ask(prompt, 4)
    except PeerMissing as error:
        missing[peer.kind.name] = str(error)
        return False
    return True


def _beside(ours: Rounds, theirs: Rounds, goal: float, said: str, filled: str) -> list[Figure]:
    def ratios(one: list[float], other: list[float]) -> list[float]:
        return [a / b for a, b in zip(one, other, strict=True)]

    faster = ratios(ours.decode, theirs.decode)
    prefill = median(ratios(ours.prefill, theirs.prefill))
    return [
        of_repeats(f"Decode, {theirs.title}", "tokens/s", theirs.decode, said),
        of_repeats(
            f"Decode, ours over {theirs.title}",
            "x",
            faster,
            "of the same rounds",
            Goal(bound=goal, at_least=True),
        ),
        of_repeats(
            f"Prefill, {theirs.title}",
            "tokens/s",
            theirs.prefill,
            f"{filled}; ours is {prefill:.2f} times as fast",
        ),
    ]


def _not_had(kind: PeerKind, reason: str) -> Figure:
    said = f"could not be had here: {reason}"
    return Figure(what=f"Decode, {kind.title}", unit="", value=float("nan"), conditions=said)
