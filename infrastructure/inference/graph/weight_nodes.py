"""The graph's nodes that hold a model's matrices, in the precision of the graph's format.

fp32, fp16 and bf16 are plain matrices. int8 and int4 are blocks along the input dimension, each
with a scale; MatMulNBits multiplies by them without unpacking them in memory. The embedding table
is stored once, for the lookup and for the head. An int4 graph keeps it in int8: the head's rounding
errors would go straight into the logits.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from infrastructure.inference.graph.graph_writer import CONTRIB, GraphWriter
from infrastructure.inference.graph.quantize import (
    BLOCK,
    BLOCK_INT4,
    quantize_rows,
    quantize_rows_int4,
)
from infrastructure.inference.graph.tensor_file import StoredTensor
from infrastructure.inference.prepared.config import GraphFormat, ModelWeights, Precision
from infrastructure.inference.prepared.errors import PreparationError

# The embedding table is converted in blocks of about this many float32 bytes.
_TABLE_BYTES_AT_ONCE = 16 * 1024 * 1024
# Level 4 computes with int8 activations on the CPU, where level 0 took a second a step. CUDA
# ignores it.
_ACCURACY_LEVEL = 4

_NUMPY_TYPES: dict[str, Any] = {
    "float32": np.float32,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
}

Progress = Callable[[float], None]


def rounded(values: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    """The values in another type. Raises PreparationError if one is too large for float16."""
    if dtype == "float32":
        return values
    with np.errstate(over="ignore"):
        found: NDArray[Any] = values.astype(_NUMPY_TYPES[dtype])
    if dtype == "float16" and not np.isfinite(found).all():
        raise PreparationError(
            "a weight is larger than 65,504, which fp16 does not hold: prepare with bf16"
        )
    return found


class WeightNodes:
    """Methods return the name of a node's output, whose type is the format's `activations`."""

    def __init__(self, source: ModelWeights, graph: GraphWriter, kind: GraphFormat) -> None:
        self._source = source
        self._graph = graph
        self._format = kind
        self._table: StoredTensor
        self._table_scales: StoredTensor

    def linear(self, value: str, name: str, parts: Sequence[str] = ()) -> str:
        """The value times a matrix. parts: names of several matrices to multiply by at once; their
        outputs follow each other on the last axis. Without parts, the matrix is `name`."""
        graph, kind, parts = self._graph, self._format, parts or (name,)
        if not kind.quantized:
            table = graph.made_constant(
                f"{name}.weight",
                lambda: (
                    np.concatenate(
                        [rounded(self._source.tensor(part), kind.activations) for part in parts]
                    ).T
                ),
            )
            return graph.node("MatMul", [value, table], [f"{name}.out"])
        bits, block, quantize = 8, BLOCK, quantize_rows
        if kind.weights is Precision.INT4:
            bits, block, quantize = 4, BLOCK_INT4, quantize_rows_int4

        @cache
        def quantized() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
            # Part by part: two float32 matrices of the largest models would take a gigabyte.
            levels, scales = zip(
                *(quantize(self._source.tensor(part)) for part in parts), strict=True
            )
            return np.concatenate(levels), np.concatenate(scales)

        levels = graph.tensors.store_made(lambda: quantized()[0])
        scales = graph.tensors.store_made(lambda: rounded(quantized()[1], kind.activations))
        return self._blocks(value, name, levels, scales, block, bits=bits)

    def lookup(self, on_progress: Progress) -> str:
        """The embedding of input_ids, not scaled yet."""
        graph = self._graph
        self._store_table(on_progress)
        table = graph.initialiser("embedding.table", self._table)
        if not self._format.quantized:
            return graph.node("Gather", [table, "input_ids"], ["embedding.rows"])
        scales = graph.initialiser("embedding.scales", self._table_scales)
        return graph.node(
            "GatherBlockQuantized",
            [table, "input_ids", scales],
            ["embedding.rows"],
            domain=CONTRIB,
            bits=8,
            block_size=BLOCK,
            gather_axis=0,
            quantize_axis=1,
        )

    def head(self, value: str, output: str) -> str:
        """The logits. Call it after `lookup`. output: the name to give them."""
        graph = self._graph
        if not self._format.quantized:
            return graph.node("Gemm", [value, "embedding.table"], [output], transB=1)
        found = self._blocks(value, "head", self._table, self._table_scales, BLOCK, bits=8)
        return found if found == output else graph.node("Identity", [found], [output])

    def _blocks(
        self,
        value: str,
        name: str,
        levels: StoredTensor,
        scales: StoredTensor,
        block: int,
        *,
        bits: int,
    ) -> str:
        rows, width = levels.shape[0], levels.shape[1] * 8 // bits
        graph = self._graph
        return graph.node(
            "MatMulNBits",
            [
                value,
                graph.initialiser(
                    f"{name}.levels", levels, (rows, width // block, block * bits // 8)
                ),
                graph.initialiser(f"{name}.scales", scales),
            ],
            [f"{name}.out"],
            domain=CONTRIB,
            N=rows,
            K=width,
            bits=bits,
            block_size=block,
            accuracy_level=_ACCURACY_LEVEL,
        )

    def _store_table(self, on_progress: Progress) -> None:
        """In blocks of rows, because the whole table takes 671 MB as float32 for the 270M model and
        4 GB for 12B."""
        config, kind = self._source.config, self._format
        vocab, hidden = config.vocab_size, config.hidden_size
        scales: list[NDArray[np.float32]] = []

        def blocks() -> Iterator[NDArray[Any]]:
            done, rows_at_once = 0, max(1, _TABLE_BYTES_AT_ONCE // 4 // hidden)
            for rows in self._source.row_blocks("embedding", rows_at_once):
                if kind.quantized:
                    levels, row_scales = quantize_rows(rows)
                    scales.append(row_scales)
                    yield levels
                else:
                    yield rounded(rows, kind.activations)
                done += len(rows)
                on_progress(done / vocab)

        tensors = self._graph.tensors
        dtype = "uint8" if kind.quantized else kind.activations
        self._table = tensors.store_blocks(dtype, (vocab, hidden), blocks)
        if kind.quantized:
            # No checkpoint comes between them, so a resumed run has both or neither.
            self._table_scales = tensors.store_made(
                lambda: rounded(np.concatenate(scales), kind.activations)
            )
