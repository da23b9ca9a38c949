"""Weights as a graph's format stores them, and half-precision graphs changed to run on the CPU."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from infrastructure.inference.graph.quantize import (
    BLOCK,
    BLOCK_INT4,
    ZERO_POINT,
    ZERO_POINT_INT4,
    quantize_rows,
    quantize_rows_int4,
)
from infrastructure.inference.graph.weight_nodes import rounded
from infrastructure.inference.prepared.config import (
    GemmaConfig,
    GraphFormat,
    ModelWeights,
    Precision,
)
from infrastructure.inference.prepared.manifest import GRAPH_FILE

_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


class StoredWeights:
    """`ModelWeights` with the numbers that a graph of the format stores, as float32."""

    def __init__(self, source: ModelWeights, kind: GraphFormat) -> None:
        self._source = source
        self._kind = kind

    @property
    def config(self) -> GemmaConfig:
        return self._source.config

    def tensor(self, name: str) -> NDArray[np.float32]:
        values, kind = self._source.tensor(name), self._kind
        if name.endswith(("q_norm", "k_norm")):
            return self._round(values, kind.activations)
        if name.endswith("norm"):
            return self._round(values, kind.stream)
        if not kind.quantized:
            return self._round(values, kind.activations)
        if kind.weights is Precision.INT4 and name != "embedding":
            packed, scales = quantize_rows_int4(values)
            pairs = np.stack([packed & 15, packed >> 4], axis=2)
            levels = pairs.reshape(values.shape).astype(np.float32) - ZERO_POINT_INT4
            return self._scaled(levels, scales, BLOCK_INT4)
        stored, scales = quantize_rows(values)
        return self._scaled(stored.astype(np.float32) - ZERO_POINT, scales, BLOCK)

    def row_blocks(self, name: str, rows: int) -> Iterator[NDArray[np.float32]]:
        table = self.tensor(name)
        for first in range(0, len(table), rows):
            yield table[first : first + rows]

    def _scaled(
        self, levels: NDArray[np.float32], scales: NDArray[np.float32], block: int
    ) -> NDArray[np.float32]:
        each = np.repeat(self._round(scales, self._kind.activations), block, axis=1)
        return levels * each

    def _round(self, values: NDArray[np.float32], dtype: str) -> NDArray[np.float32]:
        return rounded(values, dtype).astype(np.float32)


def write_widened(folder: Path, target: Path) -> None:
    """Writes the graph with the same nodes and numbers, but float32 in place of halves."""
    model = onnx.load(folder / GRAPH_FILE)
    graph = model.graph
    for tensor in graph.initializer:
        if tensor.data_type in _HALVES:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type in _HALVES:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i in _HALVES:
                attribute.i = TensorProto.FLOAT
    target.mkdir()
    onnx.save(model, target / GRAPH_FILE)
