"""Running a graph that optimum exported, behind the interface of our own graphs' sessions.

Such a graph takes the keys and values so far and gives them back with the new ones behind them,
all of them copied, and the logits of every position. So that everything else stays as it is, they
live in the same slab: its rows are read before each step, and the new tokens written after it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infrastructure.inference.prepared.config import GemmaConfig
from infrastructure.inference.sessions.host_session import HostSession, SessionLimits

_IDS, _MASK, _POSITIONS, _LOGITS = "input_ids", "attention_mask", "position_ids", "logits"


class UnknownGraph(Exception):
    """The graph's inputs or outputs are not those of an export; the text names them."""


class ExportedSession(HostSession):
    """Rows are run one by one, so none depends on another, and none gains from another."""

    def __init__(self, session: Any, config: GemmaConfig, limits: SessionLimits) -> None:
        super().__init__(session, config, limits)
        self.rows_together = False
        places = range(2 * config.layers)
        self._pasts = [_cache_name("past_key_values", place) for place in places]
        self._presents = [_cache_name("present", place) for place in places]
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


def _cache_name(kind: str, place: int) -> str:
    """place: of the slab's first dimension, keys and values of each layer in turn."""
    return f"{kind}.{place // 2}.{('key', 'value')[place % 2]}"
