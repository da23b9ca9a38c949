"""One sequence by itself, for tests of a graph's numbers."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infrastructure.inference.prepared.config import GemmaConfig
from infrastructure.inference.sessions.chunks import Chunks
from infrastructure.inference.sessions.host_session import HostSession, SessionLimits


class SequenceSession:
    """A `HostSession` of one row: `prefill`, then `step` for each token."""

    def __init__(self, session: Any, config: GemmaConfig, limits: SessionLimits) -> None:
        self._session = HostSession(session, config, limits)
        self.length = 0
        self._logits = np.zeros((1, config.vocab_size), np.float32)

    @property
    def logits(self) -> NDArray[np.float32]:
        """float32[vocab] after the last step; callers may change it in place."""
        row: NDArray[np.float32] = self._logits[0]
        return row

    @property
    def vocab_size(self) -> int:
        return self._session.vocab_size

    def prefill(self, token_ids: Sequence[int], *, room_for: int) -> Iterator[int]:
        """Run the prompt chunk by chunk; yields the number of tokens after each."""
        assert len(token_ids) + room_for <= self._session.limits.context_tokens
        chunks = Chunks(chunk_tokens=self._session.limits.chunk_tokens)
        for first, last in pairwise(chunks.cuts(token_ids)):
            self._logits = self._session.prefill(0, token_ids, first, last)
            self.length = last
            yield last

    def step(self, token_id: int) -> None:
        """Append one token; logits become those of the token after it."""
        self._logits = self._session.decode([token_id], [self.length])
        self.length += 1
