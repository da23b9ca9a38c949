"""Graphs in every precision, for the CPU and for CUDA.

No test machine has a GPU. A CUDA graph's numbers are tested with its halves widened to float32,
which the CPU runs; its types are tested by ONNX Runtime, which resolves the type of every value
before it looks for kernels.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from benchmarks.inference.graph_runner import GraphRunner, RunnerOptions
from infrastructure.inference.graph.gemma_graph import write_graph
from infrastructure.inference.graph.quantize import BLOCK_INT4, quantize_rows_int4
from infrastructure.inference.prepared.config import GraphFormat, Precision, Provider
from infrastructure.inference.prepared.errors import PreparationError
from infrastructure.inference.prepared.manifest import GRAPH_FILE, WEIGHTS_FILE
from tests.infrastructure.inference.formats import StoredWeights, write_widened
from tests.infrastructure.inference.reference import reference_logits
from tests.infrastructure.inference.tiny import TINY, TinyWeights

CPU, CUDA = Provider.CPU, Provider.CUDA
FORMATS = [
    GraphFormat(weights=Precision.FP32, provider=CPU),
    GraphFormat(weights=Precision.INT8, provider=CPU),
    GraphFormat(weights=Precision.INT4, provider=CPU),
    GraphFormat(weights=Precision.FP16, provider=CUDA),
    GraphFormat(weights=Precision.BF16, provider=CUDA),
    GraphFormat(weights=Precision.INT8, provider=CUDA),
    GraphFormat(weights=Precision.INT4, provider=CUDA),
]
ON_CUDA = [kind for kind in FORMATS if kind.provider is CUDA]
# The CPU's kernel rounds activations to int8 as well; rotary tables are rounded in halves.
APART_MAX = {Precision.FP32: 1e-5, Precision.FP16: 2e-3, Precision.BF16: 2e-2}
IDS = np.random.default_rng(1).integers(6, TINY.vocab_size, (1, 40))


def _write(folder: Path, kind: GraphFormat) -> Path:
    folder.mkdir()
    write_graph(
        TinyWeights(),
        folder,
        kind.weights,
        lambda _: None,
        provider=kind.provider,
    )
    return folder


def _apart(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("kind", FORMATS, ids=str)
def test_a_graph_computes_with_the_weights_that_it_stores(
    tmp_path: Path, kind: GraphFormat
) -> None:
    folder = _write(tmp_path / "graph", kind)
    write_widened(folder, tmp_path / "widened")
    runner = GraphRunner(tmp_path / "widened", TINY, RunnerOptions(rows=1, tokens=64, threads=1))
    expected = reference_logits(StoredWeights(TinyWeights(), kind), IDS[0].tolist(), True)[0]
    assert _apart(runner.step(IDS)[0], expected) < APART_MAX.get(kind.weights, 0.06)


def test_an_fp16_graph_runs_on_the_cpu_as_it_is(tmp_path: Path) -> None:
    kind = GraphFormat(weights=Precision.FP16, provider=CUDA)
    folder = _write(tmp_path / "graph", kind)
    runner = GraphRunner(folder, TINY, RunnerOptions(rows=1, tokens=64, threads=1))
    expected = reference_logits(TinyWeights(), IDS[0].tolist(), True)[0]
    assert _apart(runner.step(IDS)[0], expected) < 5e-3


@pytest.mark.parametrize("kind", ON_CUDA, ids=str)
def test_every_value_of_a_cuda_graph_has_a_type_that_its_nodes_take(
    tmp_path: Path, kind: GraphFormat
) -> None:
    folder = _write(tmp_path / "graph", kind)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    arguments: dict[str, Any] = {"sess_options": options, "providers": ["CPUExecutionProvider"]}
    if kind.activations == "float16":
        onnxruntime.InferenceSession(str(folder / GRAPH_FILE), **arguments)
        return
    # Types are resolved before kernels are looked for, and the CPU has none for bfloat16.
    with pytest.raises(Exception, match="Could not find an implementation"):
        onnxruntime.InferenceSession(str(folder / GRAPH_FILE), **arguments)


@pytest.mark.parametrize("kind", ON_CUDA, ids=str)
def test_keys_and_values_on_cuda_are_halves_and_logits_float32(
    tmp_path: Path, kind: GraphFormat
) -> None:
    graph = onnx.load(_write(tmp_path / "graph", kind) / GRAPH_FILE, load_external_data=False).graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.output)}
    half = TensorProto.FLOAT16 if kind.activations == "float16" else TensorProto.BFLOAT16
    assert types["past.0.key"] == types["present.3.value"] == half
    assert types["logits"] == TensorProto.FLOAT


@pytest.mark.parametrize("kind", FORMATS, ids=str)
def test_the_table_is_stored_once_for_lookup_and_head(tmp_path: Path, kind: GraphFormat) -> None:
    folder = _write(tmp_path / "graph", kind)
    graph = onnx.load(folder / GRAPH_FILE, load_external_data=False).graph
    makers = {output: node for node in graph.node for output in node.output}
    head = makers["logits"]
    while head.op_type not in ("Gemm", "MatMulNBits"):
        head = makers[head.input[0]]
    lookup = makers["embedding.rows"]
    places = {
        tensor.name: [(entry.key, entry.value) for entry in tensor.external_data]
        for tensor in graph.initializer
    }
    assert places[lookup.input[0]] == places[head.input[1]] != []
    per_weight = {"fp32": 4, "fp16": 2, "bf16": 2}.get(kind.weights, 1)
    length = dict(places[lookup.input[0]])["length"]
    assert int(length) == TINY.vocab_size * TINY.hidden_size * per_weight
    assert (folder / WEIGHTS_FILE).stat().st_size >= int(length)


def test_the_residual_stream_of_an_fp16_graph_stays_float32(tmp_path: Path) -> None:
    """In Gemma 3 it outgrows 65,504, the largest number of fp16."""
    kind = GraphFormat(weights=Precision.FP16, provider=CUDA)
    weights = TinyWeights().all_tensors()
    weights["layers.1.ffn_post_norm"] *= 1e6

    class Large(TinyWeights):
        def tensor(self, name: str) -> NDArray[np.float32]:
            return weights[name]

    (tmp_path / "graph").mkdir()
    write_graph(Large(), tmp_path / "graph", kind.weights, lambda _: None)
    runner = GraphRunner(tmp_path / "graph", TINY, RunnerOptions(rows=1, tokens=64, threads=1))
    expected = reference_logits(Large(), IDS[0].tolist(), True)[0]
    assert _apart(runner.step(IDS)[0], expected) < 5e-3


def test_a_weight_too_large_for_fp16_is_refused_with_the_remedy(tmp_path: Path) -> None:
    class TooLarge(TinyWeights):
        def tensor(self, name: str) -> NDArray[np.float32]:
            return super().tensor(name) * np.float32(1e6 if name == "layers.2.up" else 1)

    with pytest.raises(PreparationError, match="prepare with bf16"):
        write_graph(TooLarge(), tmp_path, Precision.FP16, lambda _: None)
    write_graph(TooLarge(), tmp_path, Precision.BF16, lambda _: None)


@pytest.mark.parametrize(
    ("weights", "provider", "words"),
    [
        (Precision.FP32, CUDA, "fp32 graphs are for CPU, not for CUDA"),
        (Precision.FP16, CPU, "fp16 graphs are for CUDA, not for CPU"),
        (Precision.BF16, CPU, "bf16 graphs are for CUDA, not for CPU"),
    ],
)
def test_a_format_without_kernels_is_refused(
    weights: Precision, provider: Provider, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        GraphFormat(weights=weights, provider=provider)


def test_the_default_precision_is_int8_on_the_cpu_and_bf16_on_cuda() -> None:
    assert GraphFormat.of() == GraphFormat(weights=Precision.INT8, provider=CPU)
    assert GraphFormat.of(None, CUDA) == GraphFormat(weights=Precision.BF16, provider=CUDA)
    assert GraphFormat.of(Precision.FP16) == GraphFormat(weights=Precision.FP16, provider=CUDA)
    assert GraphFormat.of(Precision.INT4).provider is CPU


def test_int4_rows_are_within_half_a_step_and_their_furthest_value_is_exact() -> None:
    rows = np.random.default_rng(3).normal(0, 1, (6, 2 * BLOCK_INT4)).astype(np.float32)
    rows[2] = 0
    packed, scales = quantize_rows_int4(rows)
    assert packed.shape == (6, BLOCK_INT4)
    levels = np.stack([packed & 15, packed >> 4], axis=2).reshape(6, 2, BLOCK_INT4)
    back = (levels.astype(np.float32) - 8) * scales[:, :, None]
    wanted = rows.reshape(6, 2, BLOCK_INT4)
    steps = np.abs(back - wanted) / np.maximum(np.abs(scales[:, :, None]), 1e-9)
    # int4 goes from -8 to 7, so a value close to the opposite of the furthest is a step away.
    assert (steps <= 1.001).all()
    assert (np.sort(steps.ravel())[: int(steps.size * 0.95)] <= 0.501).all()
    furthest = np.abs(wanted).argmax(axis=2)[:, :, None]
    found = np.take_along_axis(back, furthest, axis=2)
    assert np.allclose(found, np.take_along_axis(wanted, furthest, axis=2), rtol=1e-6)
    assert (back[2] == 0).all()
