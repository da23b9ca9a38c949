"""Gemma 3 as an ONNX graph for ONNX Runtime's contrib operators.

Inputs, for B batch rows, S new tokens in each row and a KV cache of T tokens a row:
    input_ids             int64[B, S]
    logits_at             int64[R, 2]   row and index of each new token whose logits are wanted
    seqlens_k             int32[B]      tokens in the row's cache after this step, minus one
    total_sequence_length int32[]       the largest seqlens_k plus one
    past.<i>.key, .value  [B, kv_heads, T, head_dim] in the format's activations
Outputs:
    logits                float32[R, vocab]
    present.<i>.key, .value   bound to the memory of past, written in place

The attention operator applies the rotary embedding itself (half-split, not interleaved). Sliding
layers have a window and the local base. Only tokens whose logits are wanted go through the last
layer's feed-forward part and the head; R is 0 for a chunk that does not end its prompt. Source of
the operators: ContribOperators.md in the documentation of ONNX Runtime.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infrastructure.inference.graph.graph_writer import CONTRIB, GraphWriter
from infrastructure.inference.graph.tensor_file import TensorFile
from infrastructure.inference.graph.weight_nodes import WeightNodes, rounded
from infrastructure.inference.prepared.config import (
    GemmaConfig,
    GraphFormat,
    ModelWeights,
    Precision,
    Provider,
)
from infrastructure.inference.prepared.manifest import GRAPH_FILE, WEIGHTS_FILE
from infrastructure.inference.prepared.versions import GRAPH_VERSION

__all__ = ["Precision", "write_graph"]

Progress = Callable[[float], None]


def write_graph(
    source: ModelWeights,
    folder: Path,
    precision: Precision,
    on_progress: Progress,
    *,
    provider: Provider | None = None,
    resume_key: str | None = None,
) -> dict[str, str]:
    """Write the graph and its weights into the folder. Returns the weights file's SHA-256 by its
    name.

    on_progress: gets the fraction of the weights that is written, from 0 to 1.
    provider: None means the CPU if it has kernels for the precision, otherwise CUDA.
    resume_key: names the source. A run that was interrupted under the same key is continued.
    Raises ValueError if the provider has no kernels for the precision.
    """
    kind = GraphFormat.of(precision, provider)
    key = resume_key and f"{resume_key} {GRAPH_VERSION} {kind}"
    with TensorFile(folder / WEIGHTS_FILE, resume_key=key) as tensors:
        writer = _GemmaWriter(source, GraphWriter(tensors), kind)
        writer.write(on_progress)
        writer.graph.save(folder / GRAPH_FILE)
    return {WEIGHTS_FILE: tensors.sha256}


class _GemmaWriter:
    def __init__(self, source: ModelWeights, graph: GraphWriter, kind: GraphFormat) -> None:
        self.source = source
        self.config: GemmaConfig = source.config
        self.graph = graph
        self.format = kind
        self.weights = WeightNodes(source, graph, kind)

    def write(self, on_progress: Progress) -> None:
        config, graph = self.config, self.graph
        graph.input("input_ids", "int64", ["B", "S"])
        graph.input("logits_at", "int64", ["R", 2])
        graph.input("seqlens_k", "int32", ["B"])
        graph.input("total_sequence_length", "int32", [])
        for name, base, factor in (
            ("local", config.rope_base_local, 1.0),
            ("global", config.rope_base_global, config.rope_factor_global),
        ):
            cosines, sines = rotary_tables(config, base, factor)
            graph.constant(f"rope.{name}.cos", rounded(cosines, self.format.activations))
            graph.constant(f"rope.{name}.sin", rounded(sines, self.format.activations))
        steps = config.layers + 1
        # The embedding table is most of a small model, hence 60% of the progress.
        stream = self._embed(lambda part: on_progress(part * 0.6))
        graph.tensors.checkpoint()
        normed = self._norm(stream, "layers.0.attention_norm")
        for layer in range(config.layers):
            stream, normed = self._layer(layer, stream, normed)
            graph.tensors.checkpoint()
            on_progress(0.6 + 0.4 * (layer + 1) / steps)
        self._head(normed)
        on_progress(1.0)

    def _embed(self, on_progress: Progress) -> str:
        found = self._to_stream(self.weights.lookup(on_progress))
        factor = np.array([self.config.embedding_scale], np.float32)
        scale = self.graph.constant("embedding.scale", rounded(factor, self.format.stream))
        return self.graph.node("Mul", [found, scale], ["embedding"])

    def _to_stream(self, value: str) -> str:
        same = self.format.stream == self.format.activations
        return value if same else self.graph.cast(value, self.format.stream)

    def _from_stream(self, value: str) -> str:
        same = self.format.stream == self.format.activations
        return value if same else self.graph.cast(value, self.format.activations)

    def _layer(self, layer: int, stream: str, normed: str) -> tuple[str, str]:
        """One block. Returns the residual stream after it, and that stream under the next norm."""
        config, at = self.config, f"layers.{layer}"
        last = layer == config.layers - 1
        mixed = self._attention(layer, normed)
        if last:
            mixed = self._wanted(mixed, f"{at}.wanted_mixed")
            stream = self._wanted(stream, f"{at}.wanted_stream")
        out = self._to_stream(self.weights.linear(mixed, f"{at}.o"))
        out = self._norm(out, f"{at}.attention_post_norm")
        stream, normed = self._add_and_norm(stream, out, f"{at}.ffn_norm")
        out = self._to_stream(self._feed_forward(at, self._from_stream(normed)))
        out = self._norm(out, f"{at}.ffn_post_norm")
        following = "final_norm" if last else f"layers.{layer + 1}.attention_norm"
        return self._add_and_norm(stream, out, following)

    def _wanted(self, value: str, name: str) -> str:
        """From [B, S, width] to [R, width]: only the tokens whose logits are wanted."""
        return self.graph.node("GatherND", [value, "logits_at"], [name])

    def _attention(self, layer: int, normed: str) -> str:
        config, graph, at = self.config, self.graph, f"layers.{layer}"
        normed = self._from_stream(normed)
        widths = np.array([config.heads, config.kv_heads, config.kv_heads]) * config.head_dim
        query, key, value = self._joined(normed, at, ("q", "k", "v"), widths)
        query = self._head_norm(query, f"{at}.q_norm", config.heads)
        key = self._head_norm(key, f"{at}.k_norm", config.kv_heads)
        shape: list[int | str] = ["B", config.kv_heads, "T", config.head_dim]
        for part in ("key", "value"):
            graph.input(f"past.{layer}.{part}", self.format.activations, shape)
            graph.output(f"present.{layer}.{part}", self.format.activations, shape)
        everything = config.is_full_attention(layer)
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
        graph, widths = self.graph, np.full(2, self.config.feed_forward_size)
        gate, up = self._joined(normed, at, ("gate", "up"), widths)
        gate = graph.node("Gelu", [gate], [f"{at}.gate_gelu"], approximate="tanh")
        gated = graph.node("Mul", [gate, up], [f"{at}.gated"])
        return self.weights.linear(gated, f"{at}.down")

    def _joined(
        self, value: str, at: str, parts: Sequence[str], widths: NDArray[np.int64]
    ) -> list[str]:
        """The value times several matrices in one kernel, because every kernel call has to
        synchronise its threads. The results are the same bit for bit."""
        graph, name = self.graph, f"{at}.{'_'.join(parts)}"
        joined = self.weights.linear(value, name, [f"{at}.{part}" for part in parts])
        outputs = [f"{at}.{part}.out" for part in parts]
        graph.node("Split", [joined, graph.constant(f"{name}.widths", widths)], outputs, axis=-1)
        return outputs

    def _norm(self, value: str, name: str, dtype: str | None = None) -> str:
        """dtype: the value's type, if it is not that of the residual stream."""
        return self.graph.node(
            "SimplifiedLayerNormalization",
            [value, self._norm_weight(name, dtype or self.format.stream)],
            [f"{name}.out"],
            axis=-1,
            epsilon=self.config.norm_epsilon,
        )

    def _norm_weight(self, name: str, dtype: str) -> str:
        return self.graph.constant(f"{name}.weight", rounded(self.source.tensor(name), dtype))

    def _head_norm(self, value: str, name: str, heads: int) -> str:
        """The norm of each head's vector. Attention has inputs for it that the CPU refuses."""
        if heads == 1:
            return self._norm(value, name, self.format.activations)
        graph, width = self.graph, self.config.head_dim
        split = graph.constant(f"{name}.split", np.array([0, -1, heads, width]))
        joined = graph.constant(f"{name}.joined", np.array([0, -1, heads * width]))
        by_head = graph.node("Reshape", [value, split], [f"{name}.by_head"])
        normed = self._norm(by_head, name, self.format.activations)
        return graph.node("Reshape", [normed, joined], [f"{name}.flat"])

    def _add_and_norm(self, stream: str, value: str, name: str) -> tuple[str, str]:
        graph = self.graph
        weight = self._norm_weight(name, self.format.stream)
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
        graph.output("logits", "float32", ["R", self.config.vocab_size])
        normed = self._from_stream(normed)
        if self.format.activations == "float32":
            self.weights.head(normed, "logits")
        else:
            half = self.weights.head(normed, "logits.half")
            graph.cast(half, "float32", "logits")


def rotary_tables(
    config: GemmaConfig, base: float, factor: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cosines and sines, float32[positions, head_dim / 2], of position / factor * frequency."""
    half = np.arange(0, config.head_dim, 2, dtype=np.float64) / config.head_dim
    angles = np.outer(np.arange(config.positions_max) / factor, base**-half)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
