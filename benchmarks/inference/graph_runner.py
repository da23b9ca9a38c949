"""Runs a graph on a device as the service does, but without the engine: from rows of equal length
to logits or next tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from application.chat.inference import Sampling
from infrastructure.inference.prepared.config import GemmaConfig, Provider
from infrastructure.inference.prepared.manifest import GRAPH_FILE
from infrastructure.inference.sessions.device import Device
from infrastructure.inference.sessions.device_session import DeviceLimits, DeviceSession
from infrastructure.inference.sessions.host_session import SessionLimits, runs_on
from infrastructure.inference.sessions.sampling import Sampler, pick_tokens

# More than any device has: a measurement has no budget.
_ARENA_BYTES = 1 << 40


@dataclass(frozen=True, kw_only=True)
class RunnerOptions:
    """rows, tokens: how many sequences of at most how many tokens. chunk_tokens: of a prompt in
    one step.
    cuda_graph: steps of one token are captured once and replayed.
    sampling: how next tokens are chosen; the seed is each row's number.
    on_host: choose them on the host, from whole rows of logits that are copied there."""

    rows: int
    tokens: int
    chunk_tokens: int = 1 << 20
    threads: int = 2
    provider: Provider = Provider.CPU
    cuda_graph: bool = False
    sampling: Sampling = Sampling(repetition_penalty=1.0)  # noqa: RUF009  it is frozen
    on_host: bool = False


class GraphRunner:
    """length: how many tokens every row holds."""

    def __init__(self, folder: Path, config: GemmaConfig, options: RunnerOptions) -> None:
        self._options = options
        device = Device(provider=options.provider, threads=options.threads)
        session = device.session(
            str(folder / GRAPH_FILE), arena_bytes=_ARENA_BYTES, cuda_graph=options.cuda_graph
        )
        self.runs_on = runs_on(session)
        limits = SessionLimits(
            context_tokens=options.tokens,
            threads=options.threads,
            chunk_tokens=options.chunk_tokens,
            rows_max=options.rows,
        )
        of_device = DeviceLimits(cuda_graphs=options.cuda_graph)
        self._session = DeviceSession(session, config, limits, device, of_device)
        self.forget()

    @property
    def step_sizes(self) -> tuple[int, ...]:
        return self._session.step_sizes

    def forget(self) -> None:
        self.length = 0
        self._samplers = [Sampler(self._options.sampling) for _ in range(self._options.rows)]

    def check_row_independence(self) -> None:
        """What the service does when it has loaded a model."""
        self._session.prefill(0, [2] * 16, 0, 16)
        self._session.check_row_independence(2, 16)
        self.forget()

    def step(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """int64[rows, tokens] to float32[rows, vocab] of each row's last token."""
        if ids.shape[1] == 1:
            logits = self._session.fetch(self._decode(ids[:, 0].tolist()))
        else:
            logits = np.concatenate([self._session.fetch(last) for last in self._prefill(ids)])
        self.length += ids.shape[1]
        return logits

    def prefill(self, ids: NDArray[np.int64]) -> list[int]:
        """Reads int64[rows, tokens] row by row; returns the next token of each row."""
        picked = [
            self._picked(last, [sampler])[0]
            for last, sampler in zip(self._prefill(ids), self._samplers, strict=True)
        ]
        self.length += ids.shape[1]
        return picked

    def decode(self, tokens: Sequence[int]) -> list[int]:
        """Appends one token to each row; returns the next token of each."""
        picked = self._picked(self._decode(tokens), self._samplers)
        self.length += 1
        return picked

    def _prefill(self, ids: NDArray[np.int64]) -> "list[Any]":
        found, size = [], self._options.chunk_tokens
        for row, prompt in enumerate(ids.tolist()):
            # What the row holds already counts as the beginning of the prompt.
            whole = [0] * self.length + prompt
            for first in range(self.length, len(whole), size):
                last = self._session.prefill(row, whole, first, min(first + size, len(whole)))
            found.append(last)
        return found

    def _decode(self, tokens: Sequence[int]) -> Any:
        return self._session.decode(tokens, [self.length] * len(tokens))

    def _picked(self, logits: Any, samplers: Sequence[Sampler]) -> list[int]:
        if self._options.on_host:
            tokens = pick_tokens(self._session.fetch(logits), samplers)
        else:
            tokens = self._session.pick(logits, samplers)
        if None in tokens:
            raise FloatingPointError("a row's logits are not finite")
        return [token for token in tokens if token is not None]
