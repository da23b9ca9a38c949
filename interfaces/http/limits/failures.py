"""Wrong guesses, remembered within a bound, and how long each makes the next one wait."""

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_FIRST_DELAY_S = 1.0
# An address that was told its turn and does not come within this time has lost it.
_TURN_KEPT_S = 60.0
_TURNS_MAX = 1_000


@dataclass(slots=True)
class _Record:
    """turns: of addresses, when each may try, in that order. next_turn_s: of who asks next."""

    failures: int = 0
    under_way: int = 0
    begun_s: float = -math.inf
    failed_s: float = -math.inf
    turns: dict[str, float] = field(default_factory=dict)
    next_turn_s: float = -math.inf


@dataclass(frozen=True, kw_only=True)
class FailureBounds:
    """free: failures that cost no waiting. delay_s_max: what the delay grows to. forget_s: a
    record without failures for so long is forgotten. records_max: more are not kept."""

    free: int
    delay_s_max: float
    forget_s: float
    records_max: int


class Failures(Generic[K]):
    """Guesses under way count as if they had failed, so that many at once are no way around.

    Where there is no room, records that make nobody wait go first as long as they fill half of it,
    and among equals the oldest: whoever wants to be forgotten has to fail `free` times for each of
    half of `records_max` others.
    """

    def __init__(self, bounds: FailureBounds) -> None:
        self._bounds = bounds
        # In the order in which they were touched last.
        self._free: dict[K, _Record] = {}
        self._slow: dict[K, _Record] = {}

    def __len__(self) -> int:
        return len(self._free) + len(self._slow)

    def wait_s(self, key: K, now_s: float) -> float:
        """Twice as long after each failure beyond the free ones."""
        record = self._find(key, now_s)
        beyond = -1 if record is None else self._beyond(record)
        if record is None or beyond < 0:
            return 0.0
        longest = self._bounds.delay_s_max
        delay_s = min(longest, _FIRST_DELAY_S * 2.0 ** min(beyond, 64))
        # A try that succeeds leaves the time of the last failure as it was.
        since_s = record.begun_s if record.under_way else record.failed_s
        return max(0.0, since_s + delay_s - now_s)

    def is_slow(self, key: K, now_s: float) -> bool:
        record = self._find(key, now_s)
        return record is not None and self._beyond(record) >= 0

    def turn_in_s(self, key: K, address: str, now_s: float) -> float:
        """For a key that many addresses guess at, beyond the free failures: each is given a turn,
        `delay_s_max` after the one before, and comes back for it. So all of them together are as
        slow as one, and none can take the turn of another."""
        record = self._find(key, now_s)
        if record is None or self._beyond(record) < 0:
            return 0.0
        for waiting, turn_s in list(record.turns.items()):
            if turn_s + _TURN_KEPT_S > now_s:
                break
            del record.turns[waiting]
        if address not in record.turns:
            turn_s = max(now_s, record.next_turn_s)
            if len(record.turns) >= _TURNS_MAX:
                return max(1.0, turn_s - now_s)
            record.turns[address] = turn_s
            record.next_turn_s = turn_s + self._bounds.delay_s_max
        return max(0.0, record.turns[address] - now_s)

    def begin(self, key: K, now_s: float, address: str = "") -> None:
        """For a caller that has waited for as long as it had to."""
        record = self._find(key, now_s)
        if record is None:
            record = self._free[key] = _Record()
        record.turns.pop(address, None)
        record.under_way += 1
        record.begun_s = now_s
        self._place(key, record)
        self._make_room(now_s)

    def end(self, key: K, now_s: float, *, failed: bool) -> None:
        record = self._find(key, now_s)
        if record is None:
            record = self._free[key] = _Record(under_way=1)
        record.under_way = max(0, record.under_way - 1)
        if failed:
            record.failures += 1
            record.failed_s = now_s
        if record.failures or record.under_way:
            self._place(key, record)
        else:
            self.forget(key)

    def forget(self, key: K) -> None:
        self._free.pop(key, None)
        self._slow.pop(key, None)

    def _beyond(self, record: _Record) -> int:
        return record.failures + record.under_way - self._bounds.free

    def _find(self, key: K, now_s: float) -> _Record | None:
        record = self._free.get(key) or self._slow.get(key)
        if record is not None and self._is_old(record, now_s):
            self.forget(key)
            return None
        return record

    def _is_old(self, record: _Record, now_s: float) -> bool:
        last_s = max(record.begun_s, record.failed_s)
        return not record.under_way and last_s + self._bounds.forget_s <= now_s

    def _place(self, key: K, record: _Record) -> None:
        self.forget(key)
        (self._free if self._beyond(record) < 0 else self._slow)[key] = record

    def _make_room(self, now_s: float) -> None:
        for records in (self._free, self._slow):
            while records and self._is_old(next(iter(records.values())), now_s):
                del records[next(iter(records))]
        while len(self) > self._bounds.records_max:
            is_crowded = len(self._free) > self._bounds.records_max // 2
            records = self._free if is_crowded else self._slow
            del records[next(iter(records))]
