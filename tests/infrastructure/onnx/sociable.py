"""A tiny model whose kernels do not treat rows alike."""

from pathlib import Path

import numpy as np
import onnx

from infrastructure.onnx.names import GRAPH_FILE
from tests.infrastructure.onnx.tiny import TINY


def make_sociable(folder: Path, *, by: str = "number") -> None:
    """Logits that depend on the number of rows, as another processor's kernels might have it, or
    by="tokens" on what the rows' tokens are."""
    model = onnx.load(folder / GRAPH_FILE, load_external_data=False)
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["plain" if name == "logits" else name for name in node.output]
    tilt = np.random.default_rng(1).normal(0, 1, TINY.vocab_size).astype(np.float32)
    graph.initializer.append(onnx.numpy_helper.from_array(tilt, "tilt"))
    seen: tuple[str, list[str], str, dict[str, int]]
    if by == "number":
        seen = ("Shape", ["input_ids"], "rows", {"start": 0, "end": 1})
    else:
        seen = ("ReduceSum", ["seqlens_k"], "rows", {"keepdims": 1})
    for kind, inputs, output, more in (
        seen,
        ("Cast", ["rows"], "rows_float", {"to": onnx.TensorProto.FLOAT}),
        ("Mul", ["rows_float", "tilt"], "tilted", {}),
        ("Add", ["plain", "tilted"], "logits", {}),
    ):
        graph.node.append(onnx.helper.make_node(kind, inputs, [output], **more))
    onnx.save(model, folder / GRAPH_FILE)
