"""The recorder test cases of `eventsourcing` itself, on both ways in which events are stored."""

import asyncio
import sys
import threading
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresDatastore
from psycopg.conninfo import conninfo_to_dict

from application.ledger.commits import Commit
from infrastructure.event_store.recorder import GroupCommitRecorder
from tests.support.servers import DatabaseUrls

# The module of the library's cases imports its cipher, which needs a package that neither we nor
# the recorder cases use.
_cipher: Any = ModuleType("eventsourcing.cipher")
_cipher.AESCipher = type("AESCipher", (), {})
sys.modules.setdefault("eventsourcing.cipher", _cipher)

from eventsourcing.tests.persistence import ApplicationRecorderTestCase  # noqa: E402


class BlockingGroupCommit(GroupCommitRecorder):
    """Stores through its queue, in a loop of its own, and waits as the library's cases expect."""

    def __init__(self, datastore: PostgresDatastore, **names: str) -> None:
        super().__init__(datastore, **names)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int] | None:
        if not stored_events:
            return []
        commit = Commit(stored_events)
        asyncio.run_coroutine_threadsafe(self._store(commit), self._loop).result(30)
        if commit.error is not None:
            raise commit.error
        return commit.positions

    async def _store(self, commit: Commit) -> None:
        self.commit_queue().submit(commit)
        await commit.wait_stored()

    def close(self) -> None:
        async def stop() -> None:
            self.stop()

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _Case(ApplicationRecorderTestCase[GroupCommitRecorder]):
    recorder_class: type[GroupCommitRecorder]
    __test__ = False

    @pytest.fixture(autouse=True)
    def _use_database(self, database: DatabaseUrls) -> None:
        self.urls = database

    def create_recorder(self) -> GroupCommitRecorder:
        parts = conninfo_to_dict(self.urls.owner)
        datastore = PostgresDatastore(
            dbname=str(parts["dbname"]),
            host=str(parts["host"]),
            port=str(parts["port"]),
            user=str(parts["user"]),
            password=str(parts["password"]),
            pool_size=2,
            max_overflow=10,
        )
        self.addCleanup(datastore.close)
        recorder = self.recorder_class(datastore, events_table_name="stored_events")
        if isinstance(recorder, BlockingGroupCommit):
            self.addCleanup(recorder.close)
        recorder.create_table()
        return recorder

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestInsertEvents(_Case):
    recorder_class = GroupCommitRecorder
    __test__ = True


class TestSubmit(_Case):
    recorder_class = BlockingGroupCommit
    __test__ = True
