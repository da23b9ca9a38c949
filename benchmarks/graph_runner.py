"""A graph run without the engine: ids in, logits or candidates out, for rows of equal length.

On CUDA, keys, values and logits stay on the device; what comes back after a step are each row's
64 likeliest tokens, and the logits only where they are asked for.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from infrastructure.onnx.candidates import CANDIDATES
from infrastructure.onnx.config import GemmaConfig, Provider
from infrastructure.onnx.names import GRAPH_FILE
from infrastructure.onnx.providers import provider_names, shown

_HALVES = {"tensor(float16)": TensorProto.FLOAT16, "tensor(bfloat16)": TensorProto.BFLOAT16}
_NO_CAPTURE = "-1"


@dataclass(frozen=True, kw_only=True)
class RunnerOptions:
    """rows, tokens: how many sequences of at most how many tokens.
    cuda_graph: steps of one token are captured once and replayed.
    copy_logits: on CUDA, copy whole rows of logits to the host after each step."""

    rows: int
    tokens: int
    threads: int = 2
    provider: Provider = Provider.CPU
    cuda_graph: bool = False
    copy_logits: bool = True


class GraphRunner:
    """top_logits, top_ids: [rows, 64] after each step of a graph with candidates."""

    def __init__(self, folder: Path, config: GemmaConfig, options: RunnerOptions) -> None:
        import onnxruntime

        self._ort = onnxruntime
        self._options = options
        self._config = config
        self._device = options.provider.value
        self._session = _session(folder, options)
        self.runs_on = shown(self._session.get_providers()[0])
        types = {given.name: given.type for given in self._session.get_inputs()}
        shape = (options.rows, config.kv_heads, options.tokens, config.head_dim)
        self._cache = {
            f"{layer}.{part}": self._zeros(shape, types[f"past.{layer}.{part}"])
            for layer in range(config.layers)
            for part in ("key", "value")
        }
        rows = options.rows
        self._logits = _Slot(self, np.zeros((rows, config.vocab_size), np.float32))
        self._top = {
            "top_logits": _Slot(self, np.zeros((rows, CANDIDATES), np.float32)),
            "top_ids": _Slot(self, np.zeros((rows, CANDIDATES), np.int64)),
        }
        self._past = 0
        self._bindings: dict[int, _Binding] = {}
        self._choice: dict[str, NDArray[Any]] = {}
        if "seen_ids" in types:
            none, nothing = np.zeros((rows, 1), np.int64), np.zeros((rows, 1), np.float32)
            self.choose(seen_ids=none, penalties=nothing + 1, bias_ids=none, biases=nothing)

    @property
    def top_logits(self) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self._top["top_logits"].host()
        return found

    @property
    def top_ids(self) -> NDArray[np.int64]:
        found: NDArray[np.int64] = self._top["top_ids"].host()
        return found

    def choose(self, **inputs: NDArray[Any]) -> None:
        """How the next steps narrow the logits: the inputs of `candidates`."""
        self._choice = inputs
        self._bindings = {}

    def forget(self) -> None:
        self._past = 0

    def step(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """int64[rows, tokens] to float32[rows, vocab] of each row's last token (empty where they
        are not copied); the next step overwrites it."""
        tokens = ids.shape[1]
        if tokens not in self._bindings:
            self._bindings[tokens] = _Binding(self, tokens)
        self._past += tokens
        self._bindings[tokens].run(ids, self._past)
        return self._logits.host() if self._options.copy_logits else np.zeros((0, 0), np.float32)

    def _zeros(self, shape: tuple[int, ...], kind: str) -> Any:
        """A buffer on the device. Zeros, because what attention masks it may still multiply."""
        make = self._ort.OrtValue
        if kind == "tensor(bfloat16)":
            value = make.ortvalue_from_numpy_with_onnx_type(
                np.zeros(shape, np.uint16), TensorProto.BFLOAT16
            )
        else:
            half = kind == "tensor(float16)"
            value = make.ortvalue_from_numpy(np.zeros(shape, np.float16 if half else np.float32))
        if self._device == "cpu":
            return value
        there = make.ortvalue_from_shape_and_type(
            shape, _HALVES.get(kind, TensorProto.FLOAT), self._device, 0
        )
        there.update_inplace(value)
        return there


class _Slot:
    """An array of the host and its value on the device, which are one on the CPU."""

    def __init__(self, owner: GraphRunner, array: NDArray[Any], *, on_host: bool = False) -> None:
        self._array = array
        self._shared = on_host or owner._device == "cpu"
        device = "cpu" if self._shared else owner._device
        self.value = owner._ort.OrtValue.ortvalue_from_numpy(array, device, 0)

    def set(self, values: Any) -> None:
        self._array[...] = values
        if not self._shared:
            self.value.update_inplace(self._array)

    def host(self) -> Any:
        return self._array if self._shared else self.value.numpy()


class _Binding:
    """Everything of steps of so many tokens, bound once at fixed addresses."""

    def __init__(self, owner: GraphRunner, tokens: int) -> None:
        rows = owner._options.rows
        self._owner = owner
        self._ids = _Slot(owner, np.zeros((rows, tokens), np.int64))
        self._seqlens = _Slot(owner, np.zeros(rows, np.int32))
        # Attention reads it on the host.
        self._total = _Slot(owner, np.zeros((), np.int32), on_host=True)
        slots = {
            "input_ids": self._ids,
            "logits_at": _Slot(owner, np.array([(row, tokens - 1) for row in range(rows)])),
            "seqlens_k": self._seqlens,
            "total_sequence_length": self._total,
            **{name: _Slot(owner, array) for name, array in owner._choice.items()},
        }
        self._alive = slots
        self._io = owner._session.io_binding()
        for name, slot in slots.items():
            self._io.bind_ortvalue_input(name, slot.value)
        for name, value in owner._cache.items():
            self._io.bind_ortvalue_input(f"past.{name}", value)
            self._io.bind_ortvalue_output(f"present.{name}", value)
        self._io.bind_ortvalue_output("logits", owner._logits.value)
        if owner._choice:
            for name, slot in owner._top.items():
                self._io.bind_ortvalue_output(name, slot.value)
        self._captured = owner._options.cuda_graph and tokens == 1
        self._run_options = owner._ort.RunOptions()
        if owner._options.cuda_graph and not self._captured:
            self._run_options.add_run_config_entry("gpu_graph_id", _NO_CAPTURE)

    def run(self, ids: NDArray[np.int64], length: int) -> None:
        self._ids.set(ids)
        self._seqlens.set(length - 1)
        # A replayed graph keeps the number of its capture, so that is the largest there will be.
        self._total.set(self._owner._options.tokens if self._captured else length)
        self._owner._session.run_with_iobinding(self._io, self._run_options)


def _session(folder: Path, options: RunnerOptions) -> Any:
    import onnxruntime

    wanted = onnxruntime.SessionOptions()
    wanted.intra_op_num_threads = options.threads
    wanted.log_severity_level = 3
    wanted.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    names = provider_names(options.provider)
    own = {"enable_cuda_graph": "1"} if options.cuda_graph else {}
    provider_options: list[dict[str, str]] = [own, *({} for _ in names[1:])]
    return onnxruntime.InferenceSession(
        str(folder / GRAPH_FILE), wanted, providers=names, provider_options=provider_options
    )
