"""Runs a graph that optimum exported, behind the interface of sessions of our own graphs.

Such a graph takes all earlier keys and values as an input. Its outputs are a copy of them with the
new ones behind, and the logits of every position. Between steps they stand in the same KV cache as
with our own graphs: a row is read from it before each step, and the new tokens are written to it
afterwards.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infrastructure.inference.prepared.config import GemmaConfig
from infrastructure.inference.sessions.host_session import HostSession, SessionLimits
from infrastructure.inference.sessions.kv_layout import kv_name

_IDS, _MASK, _POSITIONS, _LOGITS = "input_ids", "attention_mask", "position_ids", "logits"


class UnknownGraph(Exception):
    """The inputs or outputs are not those of an exported graph. The text names some of them."""


class ExportedSession(HostSession):
    """Runs rows one by one: they are independent of each other, and batching gains nothing."""

    def __init__(self, session: Any, config: GemmaConfig, limits: SessionLimits) -> None:
        super().__init__(session, config, limits)
        self.rows_together = False
        places = range(2 * config.layers)
        self._pasts = [kv_name("past_key_values", place) for place in places]
        self._presents = [kv_name("present", place) for place in places]
        found = {value.name for value in (*session.get_inputs(), *session.get_outputs())}
        self._takes_positions = _POSITIONS in found
        known = {_IDS, _MASK, _LOGITS, *self._pasts, *self._presents}
        if wrong := (found - {_POSITIONS}) ^ known:
            raise UnknownGraph(f"missing or unknown: {', '.join(sorted(wrong)[:5])}")

    def check_row_independence(self, _token: int, _length: int) -> bool:
        return True

    def _run(
        self,
        first_row: int,
        ids: NDArray[np.int64],
        totals: Sequence[int],
        *,
        logits: bool = True,
    ) -> NDArray[np.float32]:
        rows, count = ids.shape
        assert rows == 1, "rows are never run together"
        (total,), cache = totals, self.kv_cache.values[:, first_row]
        assert total <= cache.shape[2], "prompts are cut to the window before"
        first = total - count
        given: dict[str, NDArray[Any]] = {_IDS: ids, _MASK: np.ones((1, total), np.int64)}
        if self._takes_positions:
            given[_POSITIONS] = np.arange(first, total, dtype=np.int64)[None]
        for name, values in zip(self._pasts, cache, strict=True):
            given[name] = np.ascontiguousarray(values[None, :, :first])
        outputs = [*self._presents, *([_LOGITS] if logits else [])]
        found = self._session.run(outputs, given)
        for values, present in zip(cache, found[: len(cache)], strict=True):
            values[:, first:total] = present[0, :, first:]
        wanted = self._logits[first_row : first_row + logits]
        if logits:
            wanted[:] = found[-1][:, -1]
        return wanted
