"""Gemma 3 as an ONNX graph for ONNX Runtime's contrib operators.

Inputs, with B rows, S new tokens a row and T places in the key/value buffers:
    input_ids             int64[B, S]
    last_positions        int64[B, 1]   index in S whose logits are wanted
    seqlens_k             int32[B]      tokens in the buffer after this step, minus one
    total_sequence_length int32[]       the largest seqlens_k plus one
    past.<i>.key, .value  float32[B, kv_heads, T, head_dim]
Outputs:
    logits                float32[B, vocab]
    present.<i>.key, .value   bound to the same buffers as past, written in place

Attention rotates queries and keys itself (half-split, not interleaved), with the local base and
a window on sliding layers. Only each row's last position passes the last layer's feed-forward
part and the head. Source of the operators: docs/ContribOperators.md of ONNX Runtime.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infrastructure.onnx.config import GemmaConfig, Precision, WeightSource
from infrastructure.onnx.graph_writer import (
    CONTRIB,
    GraphWriter,
    StoredTensor,
    TensorFile,
)
from infrastructure.onnx.names import GRAPH_FILE, WEIGHTS_FILE
from infrastructure.onnx.quantize import BLOCK, quantize_rows

__all__ = ["Precision", "write_graph"]

# The embedding table passes in blocks of about so many float32 bytes, whatever its width.
_TABLE_BYTES_AT_ONCE = 16 * 1024 * 1024
# int8 activations in the kernel: level 0 took a second a step.
_ACCURACY_LEVEL = 4


Progress = Callable[[float], None]


def write_graph(
    source: WeightSource, folder: Path, precision: Precision, on_progress: Progress
) -> dict[str, str]:
    """Write the graph and its weights into the folder; the weights file's SHA-256 by name.

    on_progress gets the fraction of the weights written.
    """
    with (folder / WEIGHTS_FILE).open("wb") as file:
        tensors = TensorFile(file)
        writer = _GemmaWriter(source, GraphWriter(tensors), precision)
        writer.write(on_progress)
    writer.graph.save(folder / GRAPH_FILE)
    return {WEIGHTS_FILE: tensors.sha256}


class _GemmaWriter:
    def __init__(self, source: WeightSource, graph: GraphWriter, precision: Precision) -> None:
        self.source = source
        self.config: GemmaConfig = source.config
        self.graph = graph
        self.precision = precision
        self.table: StoredTensor
        self.table_scales: StoredTensor

    def write(self, on_progress: Progress) -> None:
        config, graph = self.config, self.graph
        graph.input("input_ids", "int64", ["B", "S"])
        graph.input("last_positions", "int64", ["B", 1])
        graph.input("seqlens_k", "int32", ["B"])
        graph.input("total_sequence_length", "int32", [])
        for name, base, factor in (
            ("local", config.rope_base_local, 1.0),
            ("global", config.rope_base_global, config.rope_factor_global),
        ):
            cosines, sines = rotary_tables(config, base, factor)
            graph.constant(f"rope.{name}.cos", cosines)
            graph.constant(f"rope.{name}.sin", sines)
        steps = config.layers + 1
        # The table is most of a small model, so it counts as one layer only on large ones.
        stream = self._embed(lambda part: on_progress(part * 0.6))
        normed = self._norm(stream, "layers.0.attention_norm")
        for layer in range(config.layers):
            stream, normed = self._layer(layer, stream, normed)
            on_progress(0.6 + 0.4 * (layer + 1) / steps)
        self._head(normed)
        on_progress(1.0)

    def _embed(self, on_progress: Progress) -> str:
        graph, config = self.graph, self.config
        if self.precision is Precision.FP32:
            self._store_table(on_progress)
            graph.initialiser("embedding.table", self.table)
            found = graph.node("Gather", ["embedding.table", "input_ids"], ["embedding.rows"])
        else:
            self._store_table(on_progress)
            found = graph.node(
                "GatherBlockQuantized",
                [
                    graph.initialiser("embedding.table", self.table),
                    "input_ids",
                    graph.initialiser("embedding.scales", self.table_scales),
                ],
                ["embedding.rows"],
                domain=CONTRIB,
                bits=8,
                block_size=BLOCK,
                gather_axis=0,
                quantize_axis=1,
            )
        scale = graph.constant("embedding.scale", np.array([config.embedding_scale], np.float32))
        return graph.node("Mul", [found, scale], ["embedding"])

    def _store_table(self, on_progress: Progress) -> None:
        """The embedding table in blocks of rows: whole, it is 671 MB on the 270M, 4 GB on 12B."""
        vocab, hidden = self.config.vocab_size, self.config.hidden_size
        tensors, scales, done = self.graph.tensors, [], 0
        exact = self.precision is Precision.FP32
        offset = tensors.begin()
        for rows in self.source.row_blocks(
            "embedding", max(1, _TABLE_BYTES_AT_ONCE // 4 // hidden)
        ):
            if exact:
                tensors.write(np.ascontiguousarray(rows).data.cast("B"))
            else:
                levels, row_scales = quantize_rows(rows)
                tensors.write(levels.data.cast("B"))
                scales.append(row_scales)
            done += len(rows)
            on_progress(done / vocab)
        if exact:
            length = 4 * vocab * hidden
            self.table = StoredTensor(
                dtype="float32", shape=(vocab, hidden), offset=offset, length=length
            )
            return
        self.table = StoredTensor(
            dtype="uint8", shape=(vocab, hidden), offset=offset, length=vocab * hidden
        )
        self.table_scales = tensors.store(np.concatenate(scales))

    def _layer(self, layer: int, stream: str, normed: str) -> tuple[str, str]:
        """One block; the residual stream after it and that stream under the next norm."""
        config, graph, at = self.config, self.graph, f"layers.{layer}"
        last = layer == config.layers - 1
        mixed = self._attention(layer, normed)
        if last:
            mixed = graph.node(
                "GatherND", [mixed, "last_positions"], [f"{at}.last_mixed"], batch_dims=1
            )
            stream = graph.node(
                "GatherND", [stream, "last_positions"], [f"{at}.last_stream"], batch_dims=1
            )
        out = self._linear(mixed, f"{at}.o")
        out = self._norm(out, f"{at}.attention_post_norm")
        stream, normed = self._add_and_norm(stream, out, f"{at}.ffn_norm")
        out = self._norm(self._feed_forward(at, normed), f"{at}.ffn_post_norm")
        following = "final_norm" if last else f"layers.{layer + 1}.attention_norm"
        return self._add_and_norm(stream, out, following)

    def _attention(self, layer: int, normed: str) -> str:
        config, graph, at = self.config, self.graph, f"layers.{layer}"
        query = self._head_norm(self._linear(normed, f"{at}.q"), f"{at}.q_norm", config.heads)
        key = self._head_norm(self._linear(normed, f"{at}.k"), f"{at}.k_norm", config.kv_heads)
        value = self._linear(normed, f"{at}.v")
        shape: list[int | str] = ["B", config.kv_heads, "T", config.head_dim]
        for part in ("key", "value"):
            graph.input(f"past.{layer}.{part}", "float32", shape)
            graph.output(f"present.{layer}.{part}", "float32", shape)
        everything = config.sees_everything(layer)
        rope = "global" if everything else "local"
        return graph.node(
            "GroupQueryAttention",
            [
                query,
                key,
                value,
                f"past.{layer}.key",
                f"past.{layer}.value",
                "seqlens_k",
                "total_sequence_length",
                f"rope.{rope}.cos",
                f"rope.{rope}.sin",
            ],
            [f"{at}.mixed", f"present.{layer}.key", f"present.{layer}.value"],
            domain=CONTRIB,
            num_heads=config.heads,
            kv_num_heads=config.kv_heads,
            scale=config.attention_scale,
            do_rotary=1,
            rotary_interleaved=0,
            local_window_size=-1 if everything else config.sliding_window,
        )

    def _feed_forward(self, at: str, normed: str) -> str:
        graph = self.graph
        gate = self._linear(normed, f"{at}.gate")
        gate = graph.node("Gelu", [gate], [f"{at}.gate_gelu"], approximate="tanh")
        gated = graph.node("Mul", [gate, self._linear(normed, f"{at}.up")], [f"{at}.gated"])
        return self._linear(gated, f"{at}.down")

    def _linear(self, value: str, name: str) -> str:
        weights = self.source.tensor(name)
        if self.precision is Precision.FP32:
            table = self.graph.constant(f"{name}.weight", weights.T)
            return self.graph.node("MatMul", [value, table], [f"{name}.out"])
        levels, scales = quantize_rows(weights)
        return self._quantized_matmul(
            value, name, self.graph.tensors.store(levels), self.graph.tensors.store(scales)
        )

    def _quantized_matmul(
        self, value: str, name: str, levels: StoredTensor, scales: StoredTensor
    ) -> str:
        rows, width = levels.shape
        graph = self.graph
        return graph.node(
            "MatMulNBits",
            [
                value,
                graph.initialiser(f"{name}.levels", levels, (rows, width // BLOCK, BLOCK)),
                graph.initialiser(f"{name}.scales", scales),
            ],
            [f"{name}.out"],
            domain=CONTRIB,
            N=rows,
            K=width,
            bits=8,
            block_size=BLOCK,
            accuracy_level=_ACCURACY_LEVEL,
        )

    def _norm(self, value: str, name: str) -> str:
        weight = self.graph.constant(f"{name}.weight", self.source.tensor(name))
        return self._rms(value, weight, f"{name}.out")

    def _rms(self, value: str, weight: str, output: str) -> str:
        return self.graph.node(
            "SimplifiedLayerNormalization",
            [value, weight],
            [output],
            axis=-1,
            epsilon=self.config.norm_epsilon,
        )

    def _head_norm(self, value: str, name: str, heads: int) -> str:
        """Norm over each head's vector; attention's own norm inputs are refused on the CPU."""
        graph, width = self.graph, self.config.head_dim
        split = graph.constant(f"{name}.split", np.array([0, -1, heads, width]))
        joined = graph.constant(f"{name}.joined", np.array([0, -1, heads * width]))
        by_head = graph.node("Reshape", [value, split], [f"{name}.by_head"])
        normed = self._norm(by_head, name)
        return graph.node("Reshape", [normed, joined], [f"{name}.flat"])

    def _add_and_norm(self, stream: str, value: str, name: str) -> tuple[str, str]:
        graph = self.graph
        weight = graph.constant(f"{name}.weight", self.source.tensor(name))
        summed = f"{name}.sum"
        normed = graph.node(
            "SkipSimplifiedLayerNormalization",
            [value, stream, weight],
            [f"{name}.out", "", "", summed],
            domain=CONTRIB,
            epsilon=self.config.norm_epsilon,
        )
        return summed, normed

    def _head(self, normed: str) -> None:
        graph = self.graph
        graph.output("logits", "float32", ["B", self.config.vocab_size])
        if self.precision is Precision.FP32:
            graph.node("Gemm", [normed, "embedding.table"], ["logits"], transB=1)
            return
        logits = self._quantized_matmul(normed, "head", self.table, self.table_scales)
        graph.node("Identity", [logits], ["logits"])


def rotary_tables(
    config: GemmaConfig, base: float, factor: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """cos and sin, float32[positions, head_dim / 2], of position / factor times frequency."""
    half = np.arange(0, config.head_dim, 2, dtype=np.float64) / config.head_dim
    angles = np.outer(np.arange(config.positions_max) / factor, base**-half)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
