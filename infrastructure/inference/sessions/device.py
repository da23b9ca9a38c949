"""Memory on the device that a model runs on, as ONNX Runtime allocates it.

All of this works the same on every provider. On the CPU the device's memory is the host's, so tests
run there. Sources: `OrtValue` and `IOBinding` in
onnxruntime/capi/onnxruntime_inference_collection.py, and "CUDA Execution Provider" in ONNX
Runtime's documentation for the options.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from infrastructure.inference.prepared.config import Provider
from infrastructure.inference.sessions.device_graphs import zeros_graph
from infrastructure.inference.sessions.providers import LOG_ERRORS_ONLY, provider_names

# In addition to what is needed, because an arena rounds every request up.
_ARENA_SLACK_BYTES = 1 << 20
_ONNX_TYPES: dict[str, int] = {
    "tensor(float)": TensorProto.FLOAT,
    "tensor(float16)": TensorProto.FLOAT16,
    "tensor(bfloat16)": TensorProto.BFLOAT16,
    "tensor(int64)": TensorProto.INT64,
}
_BYTES: dict[int, int] = {
    TensorProto.FLOAT: 4,
    TensorProto.FLOAT16: 2,
    TensorProto.BFLOAT16: 2,
    TensorProto.INT64: 8,
}


@dataclass(frozen=True, kw_only=True)
class Region:
    """Memory on the device. element: its ONNX type. alive: the objects that keep it allocated."""

    address: int
    shape: tuple[int, ...]
    element: int
    alive: Any

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * _BYTES[self.element]

    def part(self, index: int) -> "Region":
        """One entry of the first axis, without that axis."""
        shape = self.shape[1:]
        size = prod(shape) * _BYTES[self.element]
        return self._view(self.address + index * size, shape, self.element)

    def rows(self, first: int, count: int) -> "Region":
        """A range of the first axis."""
        size = prod(self.shape[1:]) * _BYTES[self.element]
        shape = (count, *self.shape[1:])
        return self._view(self.address + first * size, shape, self.element)

    def words(self, each: int) -> "Region":
        """The same memory as int64[…, each], whatever its type, for copying."""
        shape = (self.nbytes // (8 * each), each)
        assert prod(shape) * 8 == self.nbytes
        return self._view(self.address, shape, TensorProto.INT64)

    def _view(self, address: int, shape: tuple[int, ...], element: int) -> "Region":
        return Region(address=address, shape=shape, element=element, alive=self.alive)


@dataclass(frozen=True, kw_only=True)
class Device:
    """The first device of a provider. threads: of each session, on the CPU."""

    provider: Provider
    threads: int = 1

    @property
    def name(self) -> str:
        """ONNX Runtime's name of the device's memory."""
        return self.provider.value

    def session(self, model: str | bytes, *, arena_bytes: int, cuda_graph: bool = False) -> Any:
        """An `onnxruntime.InferenceSession` over a file or a serialised model.

        arena_bytes: the most device memory that its steps may take, without the weights.
        cuda_graph: a run that has a graph id is captured the first time and replayed afterwards.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = LOG_ERRORS_ONLY
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        names = provider_names(self.provider)
        return onnxruntime.InferenceSession(
            model,
            options,
            providers=names,
            provider_options=[
                cuda_options(arena_bytes, cuda_graph=cuda_graph)
                if self.provider is Provider.CUDA
                else {},
                *({} for _ in names[1:]),
            ],
        )

    def zeros(self, shapes: Sequence[tuple[tuple[int, ...], int]]) -> list[Region]:
        """One region for each (shape, ONNX type). They have an arena of their own, so they take no
        more than they need, and their memory is freed when nobody holds them."""
        words = [-(-prod(shape) * _BYTES[element] // 8) for shape, element in shapes]
        total = sum(words) * 8
        session = self.session(zeros_graph(), arena_bytes=total + total // 64)
        found = []
        for (shape, element), count in zip(shapes, words, strict=True):
            io = session.io_binding()
            io.bind_cpu_input("shape", np.array([count], np.int64))
            io.bind_output("zeros", self.name, 0)
            session.run_with_iobinding(io)
            value = io.get_outputs()[0]
            found.append(
                Region(
                    address=value.data_ptr(), shape=shape, element=element, alive=(session, value)
                )
            )
        return found

    def bind_input(self, io: Any, name: str, region: Region) -> None:
        io.bind_input(name, self.name, 0, region.element, region.shape, region.address)

    def bind_output(self, io: Any, name: str, region: Region) -> None:
        io.bind_output(name, self.name, 0, region.element, region.shape, region.address)

    def input(self, array: NDArray[Any]) -> "DeviceInput":
        return DeviceInput(self, array)


class DeviceInput:
    """A small input of a fixed shape at a fixed address on the device, where a replayed CUDA graph
    reads it."""

    def __init__(self, device: Device, array: NDArray[Any]) -> None:
        import onnxruntime

        self.value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
            array.shape, array.dtype, device.name, 0
        )
        self.set(array)

    def set(self, array: NDArray[Any]) -> None:
        self.value.update_inplace(array)


def element_of(session: Any, name: str) -> int:
    """The ONNX type of one of a session's inputs."""
    kinds = {given.name: given.type for given in session.get_inputs()}
    return _ONNX_TYPES[kinds[name]]


def element_bytes(element: int) -> int:
    return _BYTES[element]


def cuda_options(arena_bytes: int, *, cuda_graph: bool) -> dict[str, str]:
    return {
        "device_id": "0",
        "gpu_mem_limit": str(arena_bytes + _ARENA_SLACK_BYTES),
        # The default, the next power of two, takes up to twice as much.
        "arena_extend_strategy": "kSameAsRequested",
        "enable_cuda_graph": "1" if cuda_graph else "0",
    }
