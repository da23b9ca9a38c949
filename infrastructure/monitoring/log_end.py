"""Whether commits can be stored: the log and its chain end at the same position, and the database
takes a commit.

A link of the chain beyond the log's end makes the database refuse every later commit. This shows it
before anybody has tried to commit.
"""

import asyncio
import time

import psycopg
from psycopg import AsyncConnection

from application.ledger.event_macs import StateMacs
from application.read_models import ReadModelsUnavailable
from infrastructure.event_store.recorder import GroupCommitRecorder
from infrastructure.log.state import FIRST_EVENT, other_keys
from infrastructure.process.condition import describe
from infrastructure.read_models.queries import PostgresReadModels

# Both are written in one transaction, so at any moment they are equal.
_ENDS = """
SELECT coalesce((SELECT max(notification_id) FROM ledger.ledger_events), 0),
       coalesce((SELECT max(position) FROM ledger.links), 0)
"""
# What a commit does. It is rolled back; all that stays is a gap of one in the positions.
_PROBE = """
INSERT INTO ledger.ledger_events (originator_id, originator_version, topic, state)
VALUES (gen_random_uuid(), 1, 'probe', '')
"""
# Asking more often would tell nothing new, and takes the log's lock.
_ASKED_S_MIN = 1.0
_ASK_TIMEOUT_S = 2


def end_trouble(service_url: str, *, connect_timeout_s: int) -> str | None:
    """What is wrong with the log's end. Raises psycopg.Error."""
    with psycopg.connect(service_url, connect_timeout=connect_timeout_s) as connection:
        row = connection.execute(_ENDS.encode()).fetchone()
    assert row is not None
    return _compared(*row)


class LogEnd:
    """recorder: stores the commits of this process. macs: under the keys of this process."""

    def __init__(
        self,
        service_url: str,
        read_models: PostgresReadModels,
        recorder: GroupCommitRecorder,
        macs: StateMacs,
    ) -> None:
        self._service_url = service_url
        self._read_models = read_models
        self._recorder = recorder
        self._macs = macs
        self._keys_are_right = False
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")
        self._trouble: str | None = None

    async def trouble(self) -> str | None:
        """Why commits fail; None where they do not. Does not raise."""
        async with self._asking:
            if time.monotonic() - self._asked_at >= _ASKED_S_MIN:
                try:
                    async with asyncio.timeout(_ASK_TIMEOUT_S):
                        self._trouble = await self._ask()
                except (psycopg.Error, ReadModelsUnavailable, TimeoutError) as error:
                    self._trouble = describe(error)
                self._asked_at = time.monotonic()
        return self._trouble

    async def _ask(self) -> str | None:
        """Raises psycopg.Error, ReadModelsUnavailable, TimeoutError."""
        ends = await self._read_models.rows(_ENDS, ())
        if (found := _compared(*ends[0])) is not None:
            return found
        if not self._keys_are_right and (found := await self._other_keys()) is not None:
            return found
        commits = self._recorder.trouble
        if (rejected := commits.rejected) is not None:
            # After refusals nobody may be sending commands any more, so no commit would show that
            # the trouble is over.
            await self._probe()
            if commits.rejected is rejected:
                commits.rejected = None
        return commits.reason

    async def _other_keys(self) -> str | None:
        """A process on another machine may have begun the same empty ledger with other keys; then
        neither process believes the events of the other."""
        first = await self._read_models.rows(FIRST_EVENT, ())
        if not first:
            return None
        found = other_keys(first[0], self._macs)
        self._keys_are_right = found is None
        return found

    async def _probe(self) -> None:
        async with await AsyncConnection.connect(
            self._service_url,
            application_name="chatledger commit probe",
            connect_timeout=_ASK_TIMEOUT_S,
        ) as connection:
            await connection.execute(f"SET lock_timeout = '{_ASK_TIMEOUT_S}s'".encode())
            async with connection.transaction(force_rollback=True):
                await connection.execute(_PROBE.encode())


def _compared(log_end: int, chain_end: int) -> str | None:
    if log_end == chain_end:
        return None
    return (
        f"the log ends at position {log_end} and its chain at {chain_end}, so every commit is"
        " refused: somebody with the rights of the schema's owner has changed one of them; see"
        " docs/audit.md, The chain ends elsewhere than the log"
    )
