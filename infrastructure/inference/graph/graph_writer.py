"""Writes an ONNX model node by node, with its large tensors in one file beside it.

Only the tensor that is being written is in memory. A tensor that several initialisers share is
stored once.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from onnx import TensorProto, helper

from infrastructure.inference.graph.tensor_file import StoredTensor, TensorFile
from infrastructure.inference.prepared.manifest import WEIGHTS_FILE

OPSET = 20
IR_VERSION = 10
CONTRIB = "com.microsoft"

_TYPES: dict[str, int] = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
    "uint8": TensorProto.UINT8,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
}


class GraphWriter:
    """Collects nodes; every method that makes one returns the name of its first output."""

    def __init__(self, tensors: TensorFile) -> None:
        self.tensors = tensors
        self._nodes: list[Any] = []
        self._initialisers: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(self, name: str, dtype: str, shape: list[int | str]) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, _TYPES[dtype], shape))
        return name

    def output(self, name: str, dtype: str, shape: list[int | str]) -> None:
        self._outputs.append(helper.make_tensor_value_info(name, _TYPES[dtype], shape))

    def constant(self, name: str, values: NDArray[Any]) -> str:
        return self.initialiser(name, self.tensors.store(values))

    def made_constant(self, name: str, make: Callable[[], NDArray[Any]]) -> str:
        """make: called only if no interrupted run has stored the tensor."""
        return self.initialiser(name, self.tensors.store_made(make))

    def initialiser(
        self, name: str, stored: StoredTensor, shape: tuple[int, ...] | None = None
    ) -> str:
        """One stored tensor may have several names, each with its own shape."""
        proto = TensorProto()
        proto.name = name
        proto.data_type = _TYPES[stored.dtype]
        proto.dims.extend(stored.shape if shape is None else shape)
        if stored.data is not None:
            proto.raw_data = stored.data
        else:
            proto.data_location = TensorProto.EXTERNAL
            place = {"location": WEIGHTS_FILE, "offset": stored.offset, "length": stored.length}
            for key, value in place.items():
                entry = proto.external_data.add()
                entry.key, entry.value = key, str(value)
        self._initialisers.append(proto)
        return name

    def node(
        self,
        kind: str,
        inputs: list[str],
        outputs: list[str],
        *,
        domain: str = "",
        **attributes: float | int | str,
    ) -> str:
        self._nodes.append(
            helper.make_node(
                kind, inputs, outputs, name=outputs[0], domain=domain or None, **attributes
            )
        )
        return outputs[0]

    def cast(self, value: str, dtype: str, output: str | None = None) -> str:
        return self.node("Cast", [value], [output or f"{value}.{dtype}"], to=_TYPES[dtype])

    def save(self, path: Path) -> None:
        graph = helper.make_graph(
            self._nodes, "gemma3", self._inputs, self._outputs, self._initialisers
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)],
            ir_version=IR_VERSION,
            producer_name="chatledger",
        )
        path.write_bytes(model.SerializeToString())
