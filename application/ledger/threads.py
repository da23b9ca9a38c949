"""Threads for what would block the event loop: reading streams, and writing their snapshots."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from eventsourcing.persistence import IntegrityError, InterfaceError, OperationalError

from application.ledger.commits import LedgerBusy, LedgerUnavailable
from application.ledger.event_store import LedgerApplication
from application.ledger.snapshots import take_snapshot
from application.ledger.streams import StreamKind, StreamState
from application.ports import Clock

T = TypeVar("T")


class LedgerThreads:
    """threads: how many calls run at once. wait_s_max: how long a call waits for its thread; while
    the database is away, each call before it keeps one until it gives up. snapshots_max: how many
    may wait to be written."""

    def __init__(
        self,
        application: LedgerApplication,
        clock: Clock,
        *,
        threads: int,
        wait_s_max: float,
        snapshots_max: int,
    ) -> None:
        self._application = application
        self._clock = clock
        self._wait_s_max = wait_s_max
        self._snapshots_max = snapshots_max
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="ledger")
        self._snapshots: set[asyncio.Future[None]] = set()

    async def run(self, call: Callable[[], T]) -> T:
        """Raises LedgerUnavailable, LedgerBusy, and what the call raises."""
        loop = asyncio.get_running_loop()
        latest = loop.time() + self._wait_s_max

        def call_in_time() -> T:
            if loop.time() > latest:
                raise LedgerBusy(
                    "the ledger has more to do than it can at present; try again shortly"
                )
            return call()

        try:
            return await loop.run_in_executor(self._executor, call_in_time)
        except (OperationalError, InterfaceError) as error:
            raise LedgerUnavailable("the ledger's database cannot be reached") from error

    def snapshot_later(self, kind: StreamKind[Any], state: StreamState) -> None:
        """A snapshot only saves time: where many are waiting, the next one will do."""
        if len(self._snapshots) >= self._snapshots_max:
            return
        put = asyncio.get_running_loop().run_in_executor(
            self._executor, partial(self._put_snapshot, kind, state)
        )
        self._snapshots.add(put)
        put.add_done_callback(self._snapshots.discard)

    async def drain(self) -> None:
        """Returns when the snapshots that were waiting are written."""
        if self._snapshots:
            await asyncio.wait(self._snapshots)

    def close(self) -> None:
        self._executor.shutdown(wait=True)

    def _put_snapshot(self, kind: StreamKind[Any], state: StreamState) -> None:
        assert self._application.snapshots is not None
        # Another writer may have taken the same one; and without it, streams still load.
        with suppress(IntegrityError, OperationalError, InterfaceError):
            self._application.snapshots.put([take_snapshot(kind, state, self._clock.now())])
