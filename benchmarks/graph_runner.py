"""A graph run on the CPU without the engine: ids in, logits out, for rows of equal length."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infrastructure.onnx.candidates import CANDIDATES
from infrastructure.onnx.config import GemmaConfig
from infrastructure.onnx.session import open_session


class GraphRunner:
    """Key/value buffers for `rows` sequences of at most `tokens` tokens.

    top_logits, top_ids: [rows, 64] after each step of a graph with candidates, see `candidates`.
    """

    def __init__(
        self, folder: Path, config: GemmaConfig, *, rows: int, tokens: int, threads: int = 2
    ) -> None:
        import onnxruntime

        self._session = open_session(folder, threads=threads, provider="cpu", spin=True)
        self._rows = rows
        self._past = 0
        self._from_numpy = onnxruntime.OrtValue.ortvalue_from_numpy
        types = {given.name: given.type for given in self._session.get_inputs()}
        self._buffers = {}
        shape = (rows, config.kv_heads, tokens, config.head_dim)
        for layer in range(config.layers):
            for part in ("key", "value"):
                name = f"{layer}.{part}"
                half = types[f"past.{name}"] == "tensor(float16)"
                zeros = np.zeros(shape, np.float16 if half else np.float32)
                self._buffers[name] = (zeros, self._from_numpy(zeros))
        self._logits = np.zeros((rows, config.vocab_size), np.float32)
        self.top_logits = np.zeros((rows, CANDIDATES), np.float32)
        self.top_ids = np.zeros((rows, CANDIDATES), np.int64)
        self._choice: dict[str, NDArray[Any]] = {}
        if "seen_ids" in types:
            none, nothing = np.zeros((rows, 1), np.int64), np.zeros((rows, 1), np.float32)
            self.choose(seen_ids=none, penalties=nothing + 1, bias_ids=none, biases=nothing)

    def choose(self, **inputs: NDArray[Any]) -> None:
        """How the next steps narrow the logits: the inputs of `candidates`."""
        self._choice = inputs

    def forget(self) -> None:
        self._past = 0

    def step(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """int64[rows, tokens] to float32[rows, vocab] of each row's last token; the next step
        overwrites it."""
        tokens = ids.shape[1]
        self._past += tokens
        given: dict[str, NDArray[Any]] = {
            "input_ids": np.ascontiguousarray(ids, np.int64),
            "last_positions": np.full((self._rows, 1), tokens - 1, np.int64),
            "seqlens_k": np.full(self._rows, self._past - 1, np.int32),
            "total_sequence_length": np.array(self._past, np.int32),
            **self._choice,
        }
        binding = self._session.io_binding()
        values = {name: self._from_numpy(array) for name, array in given.items()}
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        outputs: dict[str, NDArray[Any]] = {"logits": self._logits}
        if self._choice:
            outputs |= {"top_logits": self.top_logits, "top_ids": self.top_ids}
        for name, array in outputs.items():
            binding.bind_ortvalue_output(name, self._from_numpy(array))
        for name, (_, value) in self._buffers.items():
            binding.bind_ortvalue_input(f"past.{name}", value)
            binding.bind_ortvalue_output(f"present.{name}", value)
        self._session.run_with_iobinding(binding)
        return self._logits
