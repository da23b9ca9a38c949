"""The benchmark of other runners asks in turn, compares by round, and names who is absent."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from benchmarks.figures import table
from benchmarks.inference.peer_setup import KINDS
from benchmarks.inference.peers import PeerProcess, Speeds, side_by_side

# Answers like peer.py, always in the same time: decodes 10 tokens a second.
STEADY = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    ids = list(range(asked["tokens"]))
    answer = {"prefill_s": len(asked["prompt"]) / 50, "decode_s": (len(ids) - 1) / 10, "ids": ids}
    print(json.dumps(answer), flush=True)
"""
ENDING = "import sys; sys.exit('no such library')"


class Ours:
    """A `Runner` of which each round is faster than the one before."""

    title = "ours"

    def __init__(self) -> None:
        self.asked: list[int] = []

    def ask(self, prompt: Sequence[int], tokens: int) -> Speeds:
        self.asked.append(tokens)
        return Speeds(prefill=100.0, decode=10.0 * len(self.asked))


@pytest.fixture
def processes() -> Iterator[list["subprocess.Popen[str]"]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def _peer(
    program: str, name: str, processes: list["subprocess.Popen[str]"], tmp_path: Path
) -> PeerProcess:
    log = tmp_path / f"{name}.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    processes.append(process)
    kind = next(kind for kind in KINDS if kind.name == name)
    return PeerProcess(kind=kind, process=process, log=log)


def test_runners_are_asked_in_turn_and_judged_by_the_rounds_ratios(
    processes: list["subprocess.Popen[str]"], tmp_path: Path
) -> None:
    ours = Ours()
    peer = _peer(STEADY, "genai", processes, tmp_path)
    prompts = [[1, 2, 3]] * 3
    figures = side_by_side(ours, [peer], {}, short=[1, 2], long=prompts, tokens=21)
    assert ours.asked == [4, 21, 1, 21, 1, 21, 1]
    found = {figure.what: figure for figure in figures}
    ratio = found["Decode, ours over onnxruntime-genai 0.18.0, int8"]
    assert (ratio.low, ratio.value, ratio.high) == pytest.approx((2.0, 4.0, 6.0))
    assert ratio.verdict() == "met"
    assert found["Decode, onnxruntime-genai 0.18.0, int8"].value == pytest.approx(10.0)
    assert found["Prefill, onnxruntime-genai 0.18.0, int8"].value == pytest.approx(50.0)


def test_a_peer_that_cannot_be_had_or_ends_is_named_in_the_table(
    processes: list["subprocess.Popen[str]"], tmp_path: Path
) -> None:
    missing = {"llama-cpp": "no compiler"}
    ending = _peer(ENDING, "optimum", processes, tmp_path)
    figures = side_by_side(Ours(), [ending], missing, short=[1], long=[[1, 2]], tokens=3)
    printed = table(figures)
    assert "could not be had here: no compiler" in printed
    assert "could not be had here: it ended: no such library" in printed
    assert printed.count("not measured") == 2
    assert all(figure.as_json()["value"] is None for figure in figures[2:])
