"""A tiny model whose kernels do not treat rows alike."""

from pathlib import Path

import numpy as np
import onnx

from infrastructure.inference.prepared.manifest import GRAPH_FILE
from tests.infrastructure.inference.tiny import TINY

# What the logits depend on beside their own row, computed from the graph's inputs.
_LEANINGS: dict[str, tuple[str, list[str], str, dict[str, int]]] = {
    "number": ("Shape", ["input_ids"], "leaning", {"start": 0, "end": 1}),
    "lengths": ("ReduceSum", ["seqlens_k"], "leaning", {"keepdims": 1}),
    "place": ("Gather", ["logits_at", "first"], "leaning", {"axis": 1}),
}


def make_rows_uneven(folder: Path, *, by: str = "number") -> None:
    """Makes a row's logits depend on the number of rows, as on another processor they might, or on
    the rows' lengths, or on the row's place among them."""
    model = onnx.load(folder / GRAPH_FILE, load_external_data=False)
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["plain" if name == "logits" else name for name in node.output]
    tilt = np.random.default_rng(1).normal(0, 1, TINY.vocab_size).astype(np.float32)
    graph.initializer.append(onnx.numpy_helper.from_array(tilt, "tilt"))
    graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(1, np.int64), "first"))
    for kind, inputs, output, more in (
        _LEANINGS[by],
        ("Cast", ["leaning"], "leaning_float", {"to": onnx.TensorProto.FLOAT}),
        ("Mul", ["leaning_float", "tilt"], "tilted", {}),
        ("Add", ["plain", "tilted"], "logits", {}),
    ):
        graph.node.append(onnx.helper.make_node(kind, inputs, [output], **more))
    onnx.save(model, folder / GRAPH_FILE)
