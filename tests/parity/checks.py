"""What is compared with transformers: numbers, chosen tokens, token ids."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure, Goal
from benchmarks.inference.graph_runner import GraphRunner, RunnerOptions
from infrastructure.inference.graph.gemma_graph import write_graph
from infrastructure.inference.prepared.config import GemmaConfig, ModelWeights, Precision
from tests.parity.environment import ask_oracle

LOGITS_APART_MAX = Goal(bound=5.0)
SAME_TOKENS_PERCENT_MIN = Goal(bound=97.0, at_least=True)
ALL_EQUAL = Goal(bound=100.0, at_least=True)
_PREFILL_TOKENS = 128


@dataclass(frozen=True, kw_only=True)
class Questions:
    """keep: last positions of a prompt whose logits are compared. The rest as in oracle.py."""

    prompts: Sequence[Sequence[int]]
    keep: int = 1
    greedy: int = 0
    texts: Sequence[Sequence[int]] = ()
    strings: Sequence[str] = ()

    def ask(self, model: Path, folder: Path) -> dict[str, NDArray[Any]]:
        """transformers' answers, by the names of oracle.py."""
        asked, answered = folder / "questions.json", folder / "answers.npz"
        values = {"prompts": self.prompts, "keep": self.keep, "greedy": self.greedy}
        asked.write_text(json.dumps({**values, "texts": self.texts, "strings": self.strings}))
        ask_oracle("ask", str(model), str(asked), str(answered))
        with np.load(answered) as stored:
            return dict(stored)


def written(source: ModelWeights, folder: Path, precision: Precision) -> Path:
    folder.mkdir()
    write_graph(source, folder, precision, lambda _: None)
    return folder


def last_logits(runner: GraphRunner, ids: Sequence[int], keep: int) -> NDArray[np.float32]:
    """float32[keep, vocab]: the prompt prefilled in chunks, its last positions step by step."""
    runner.forget()
    before = len(ids) - keep + 1
    for first in range(0, before, _PREFILL_TOKENS):
        logits = runner.step(np.array([ids[first : min(before, first + _PREFILL_TOKENS)]]))
    rows = [logits[0].copy()]
    for token_id in ids[before:]:
        rows.append(runner.step(np.array([[token_id]]))[0].copy())
    return np.stack(rows)


def logits_apart(
    what: str, runner: GraphRunner, questions: Questions, answers: dict[str, NDArray[Any]]
) -> Figure:
    apart = 0.0
    for number, ids in enumerate(questions.prompts):
        found = last_logits(runner, ids, questions.keep)
        apart = max(apart, float(np.abs(found - answers[f"logits_{number}"]).max()))
    lengths = ", ".join(str(len(ids)) for ids in questions.prompts)
    return Figure(
        what=what,
        unit="×10⁻³ at most",
        value=apart * 1000,
        conditions=f"prompts of {lengths} tokens, last {questions.keep} positions of each",
        goal=LOGITS_APART_MAX,
    )


def greedy_equal(
    what: str, runner: GraphRunner, questions: Questions, answers: dict[str, NDArray[Any]]
) -> Figure:
    """Tokens of each answer up to its first difference; nothing after it can be compared."""
    equal = []
    for number, ids in enumerate(questions.prompts):
        token_id = int(last_logits(runner, ids, 1)[0].argmax())
        expected = answers[f"greedy_{number}"].tolist()
        found = [token_id]
        while len(found) < len(expected):
            token_id = int(runner.step(np.array([[token_id]]))[0].argmax())
            found.append(token_id)
        same = [one == other for one, other in zip(found, expected, strict=True)]
        equal.append(same.index(False) if False in same else len(same))
    each = ", ".join(f"{count}/{questions.greedy}" for count in equal)
    return Figure(
        what=what,
        unit="% equal",
        value=100 * sum(equal) / (len(equal) * questions.greedy),
        conditions=f"{each} for prompts of {', '.join(str(len(p)) for p in questions.prompts)}",
        goal=ALL_EQUAL,
    )


@dataclass(frozen=True, kw_only=True)
class Reading:
    """best: the most probable token after each position; log_probability: of the one that
    follows. One array for each text."""

    best: list[NDArray[np.int64]]
    log_probability: list[NDArray[np.float64]]

    @property
    def positions(self) -> int:
        return sum(len(best) for best in self.best)

    @property
    def perplexity(self) -> float:
        return float(np.exp(-np.concatenate(self.log_probability).mean()))

    def same_percent(self, other: "Reading") -> float:
        same = [a == b for a, b in zip(self.best, other.best, strict=True)]
        return 100 * float(np.concatenate(same).mean())

    def log_probability_apart(self, other: "Reading") -> float:
        pairs = zip(self.log_probability, other.log_probability, strict=True)
        return max(float(np.abs(one - another).max()) for one, another in pairs)


def oracles_reading(answers: dict[str, NDArray[Any]], texts: int) -> Reading:
    return Reading(
        best=[answers[f"best_{number}"] for number in range(texts)],
        log_probability=[answers[f"log_probability_{number}"] for number in range(texts)],
    )


def read_texts(folder: Path, config: GemmaConfig, texts: Sequence[Sequence[int]]) -> Reading:
    """Every token of every text one step at a time, all texts side by side; a text that has
    ended goes on with padding, which nothing before it sees."""
    longest = max(len(ids) for ids in texts)
    padded = np.zeros((len(texts), longest), np.int64)
    for row, ids in enumerate(texts):
        padded[row, : len(ids)] = ids
    runner = GraphRunner(folder, config, RunnerOptions(rows=len(texts), tokens=longest))
    best = np.zeros((len(texts), longest - 1), np.int64)
    chosen = np.zeros((len(texts), longest - 1), np.float64)
    for place in range(longest - 1):
        logits = runner.step(padded[:, place : place + 1]).astype(np.float64)
        best[:, place] = logits.argmax(axis=1)
        largest = logits.max(axis=1)
        sums = np.log(np.exp(logits - largest[:, None]).sum(axis=1)) + largest
        chosen[:, place] = logits[np.arange(len(texts)), padded[:, place + 1]] - sums
    ends = [len(ids) - 1 for ids in texts]
    return Reading(
        best=[best[row, :end] for row, end in enumerate(ends)],
        log_probability=[chosen[row, :end] for row, end in enumerate(ends)],
    )
