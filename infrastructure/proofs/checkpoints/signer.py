"""Signs a checkpoint of the log at regular intervals, and copies it to a file that the database's
administrator cannot change."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from psycopg import AsyncConnection

from application.ports import Clock
from infrastructure.database.leader import Leader
from infrastructure.process.condition import Condition, State
from infrastructure.proofs.checkpoints.file import CheckpointFile
from infrastructure.proofs.checkpoints.records import BadRecord, SignedCheckpoint
from infrastructure.proofs.checkpoints.settings import CheckpointSettings
from infrastructure.proofs.checkpoints.signed_log import LogDisagrees, SignedLog, query_on
from infrastructure.proofs.checkpoints.signing_key import PublicKey, SigningKey
from infrastructure.proofs.checkpoints.tree_store import Query

# Any number will do, if all versions of the service use the same.
SIGNER_LOCK = 7_203_554_005
_RECORDS_MAX = 1000


class Signer:
    """Only one at a time works for a database: the one that holds an advisory lock."""

    def __init__(
        self, service_url: str, settings: CheckpointSettings, key: SigningKey, clock: Clock
    ) -> None:
        self._settings = settings
        self._key = key
        self._clock = clock
        self.condition = Condition("checkpoints")
        self._leader = Leader(
            service_url,
            name="chatledger checkpoints",
            lock=SIGNER_LOCK,
            times=settings.connections.leader_times,
            condition=self.condition,
        )

    async def run(self) -> None:
        """Until cancelled."""
        await self._leader.run(self._lead)

    async def _lead(self, database: AsyncConnection[Any]) -> None:
        signed = await SignedLog.resume(database, self._key)
        file = CheckpointFile(self._settings.folder, signed.id)
        mirror = await _Mirror.open(database, self._key.public, file)
        self.condition.enter(State.WORKING)
        await self._sign_for_ever(signed, mirror)

    async def _sign_for_ever(self, signed: SignedLog, mirror: "_Mirror") -> None:
        settings = self._settings
        clock = asyncio.get_running_loop().time
        due_s = clock()
        while True:
            more = await signed.read_more(
                links_max=settings.links_max, leaves_max=settings.leaves_max
            )
            waiting = signed.events_unsigned
            if waiting >= settings.events_max or (waiting and not more and clock() >= due_s):
                await signed.sign(self._clock.now())
                await mirror.catch_up()
                due_s = clock() + settings.interval_s
            if not more:
                await asyncio.sleep(min(settings.connections.poll_s, settings.interval_s))


class _Mirror:
    """Copies the checkpoints of the database to the file."""

    def __init__(self, query: Query, key: PublicKey, file: CheckpointFile, number: int) -> None:
        self._query = query
        self._key = key
        self._file = file
        self._number = number

    @classmethod
    async def open(
        cls, database: AsyncConnection[Any], key: PublicKey, file: CheckpointFile
    ) -> "_Mirror":
        """Also writes what is missing in the file. Raises LogDisagrees, OSError."""
        query = query_on(database)
        number = await stored_number(
            query, await asyncio.to_thread(file.last), f"the file {file.path}"
        )
        mirror = cls(query, key, file, number)
        await mirror.catch_up()
        return mirror

    async def catch_up(self) -> None:
        async for number, records in records_after(self._query, self._number, self._key):
            await asyncio.to_thread(self._file.add, records)
            self._number = number


async def stored_number(query: Query, last: SignedCheckpoint | None, where: str) -> int:
    """The number in the database of the last checkpoint of another place, 0 if that place has none.

    last: that checkpoint. where: the place, for the error. Raises LogDisagrees if the database does
    not have it.
    """
    if last is None:
        return 0
    position = last.checkpoint.position
    found = await query(
        "SELECT number FROM ledger.checkpoints WHERE position = %s AND record = %s",
        (position, last.line),
    )
    if not found:
        raise LogDisagrees(
            f"the database does not have the checkpoint at position {position} that {where} ends"
            " with: it was restored to an earlier state, or its end was removed; run `chatledger"
            " audit verify`"
        )
    return int(found[0][0])


async def records_after(
    query: Query, number: int, key: PublicKey
) -> AsyncIterator[tuple[int, list[SignedCheckpoint]]]:
    """The key's records with larger numbers, in pages. Each page has the number of its last row.
    Rows of somebody else are left out."""
    while True:
        found = await query(
            "SELECT number, record FROM ledger.checkpoints WHERE number > %s"
            " ORDER BY number LIMIT %s",
            (number, _RECORDS_MAX),
        )
        if not found:
            return
        number = found[-1][0]
        records: list[SignedCheckpoint] = []
        for _, record in found:
            with suppress(BadRecord):
                signed = SignedCheckpoint.from_line(record)
                if signed.is_signed_by(key):
                    records.append(signed)
        if records:
            yield number, records
