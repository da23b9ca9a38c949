"""Counts failed guesses by key, for a bounded number of keys, and says how long the next guess
has to wait."""

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_FIRST_DELAY_S = 1.0
# An address that does not use its turn within this time loses it.
_TURN_KEPT_S = 60.0
_TURNS_MAX = 1_000


@dataclass(slots=True)
class _Record:
    """turns: when each waiting address may try, the earliest first. next_turn_s: the turn of the
    next address that asks."""

    failures: int = 0
    under_way: int = 0
    begun_s: float = -math.inf
    failed_s: float = -math.inf
    turns: dict[str, float] = field(default_factory=dict)
    next_turn_s: float = -math.inf


@dataclass(frozen=True, kw_only=True)
class FailureBounds:
    """free: failures before anybody has to wait. delay_s_max: the longest delay. forget_s: how long
    after its last failure a record is forgotten. records_max: how many records are kept."""

    free: int
    delay_s_max: float
    forget_s: float
    records_max: int


class Failures(Generic[K]):
    """A guess counts as failed until it ends, so sending many at once does not help.

    When there are too many records, the oldest one that makes nobody wait is dropped; but where
    those are half of all or less, the oldest one that makes somebody wait. So an attacker who wants
    to be rid of a record has to fail `free` times for each of `records_max / 2` other keys.
    """

    def __init__(self, bounds: FailureBounds) -> None:
        self._bounds = bounds
        # In the order in which they were touched last.
        self._free: dict[K, _Record] = {}
        self._slow: dict[K, _Record] = {}

    def __len__(self) -> int:
        return len(self._free) + len(self._slow)

    def wait_s(self, key: K, now_s: float) -> float:
        """How long the key has to wait now. The delay doubles with each failure beyond the free
        ones."""
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
        """How long this address has to wait for its turn at a key whose free failures are used up.

        Each address that asks gets a turn, `delay_s_max` after the one before it, and has to come
        back for it. So all of them together are as slow as one, and none can take the turn of
        another."""
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
        """A guess begins, after the caller has waited as long as it was told."""
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
