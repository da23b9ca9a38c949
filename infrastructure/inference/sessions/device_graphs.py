"""Small graphs that clear and copy memory on the device, whatever the provider.

Keys and values are copied as int64 words, so no provider needs kernels for their own type.
"""

from typing import Any

from onnx import TensorProto, helper

from infrastructure.inference.graph.graph_writer import IR_VERSION, OPSET

INT64 = TensorProto.INT64


def zeros_graph() -> bytes:
    """shape int64[axes] → zeros int64[…]"""
    zero = helper.make_tensor("zero", INT64, [1], [0])
    return serialised(
        [helper.make_node("ConstantOfShape", ["shape"], ["zeros"], value=zero)],
        inputs={"shape": (INT64, ["axes"])},
        outputs={"zeros": (INT64, None)},
    )


def read_graph() -> bytes:
    """memory int64[N, W], places int64[M] → block int64[M, W]"""
    return serialised(
        [helper.make_node("Gather", ["memory", "places"], ["block"], axis=0)],
        inputs={"memory": (INT64, ["N", "W"]), "places": (INT64, ["M"])},
        outputs={"block": (INT64, ["M", "W"])},
    )


def write_graph() -> bytes:
    """memory int64[N, W], places int64[M, 1], block int64[M, W] → changed int64[N, W]. Bind
    `changed` to the memory of `memory`, and it is written in place."""
    return serialised(
        [helper.make_node("ScatterND", ["memory", "places", "block"], ["changed"])],
        inputs={
            "memory": (INT64, ["N", "W"]),
            "places": (INT64, ["M", 1]),
            "block": (INT64, ["M", "W"]),
        },
        outputs={"changed": (INT64, ["N", "W"])},
    )


def serialised(
    nodes: list[Any],
    *,
    inputs: dict[str, tuple[int, list[int | str] | None]],
    outputs: dict[str, tuple[int, list[int | str] | None]],
    constants: list[Any] | None = None,
) -> bytes:
    """An ONNX model as bytes. inputs, outputs: (type, shape) by name."""
    described = [
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in some.items()]
        for some in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "device", *described, constants)
    model: bytes = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="chatledger",
    ).SerializeToString()
    return model
