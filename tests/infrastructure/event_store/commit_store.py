"""Commits on the real event store, for the tests of the recorder that writes them in groups."""

from uuid import UUID, uuid5

import psycopg
from eventsourcing.persistence import StoredEvent

from application.ledger.commits import Commit
from application.ledger.ledger import LedgerApplication
from domain.identifiers import NAMESPACE
from infrastructure.event_store.commit_waiting import CommitLimits
from infrastructure.event_store.recorder import LedgerRecorder, open_application
from tests.support.keys import LEDGER_KEYS
from tests.support.servers import DatabaseUrls

Row = tuple[int, UUID, int, str]


def stream(name: str) -> UUID:
    return uuid5(NAMESPACE, f"group commit:{name}")


def event(name: str, version: int = 1, state: bytes = b"{}", topic: str = "t") -> StoredEvent:
    return StoredEvent(
        originator_id=stream(name), originator_version=version, topic=topic, state=state
    )


def commit(*events: StoredEvent, after: tuple[Commit, ...] = ()) -> Commit:
    return Commit(events, after=after)


class Store:
    def __init__(self, url: str, limits: CommitLimits | None = None) -> None:
        self.url = url
        self.application: LedgerApplication = open_application(
            url, LEDGER_KEYS, threads=2, connect_timeout_s=2, cached_streams_max=10
        )
        assert isinstance(self.application.recorder, LedgerRecorder)
        self.recorder = self.application.recorder
        if limits is not None:
            self.recorder.commit_limits = limits

    async def store(self, *commits: Commit) -> list[Exception | None]:
        """All submitted at once; what became of each."""
        for one in commits:
            self.submit(one)
        for one in commits:
            await one.wait_stored()
        return [one.error for one in commits]

    def submit(self, one: Commit) -> None:
        self.recorder.commit_queue().submit(one)

    def close(self) -> None:
        self.recorder.stop()
        self.application.close()


def rows(urls: DatabaseUrls) -> list[Row]:
    with psycopg.connect(urls.service) as connection:
        return connection.execute(
            "SELECT notification_id, originator_id, originator_version, topic"
            " FROM ledger.ledger_events ORDER BY notification_id"
        ).fetchall()


def transactions(urls: DatabaseUrls) -> int:
    """How many have written to the log."""
    with psycopg.connect(urls.service) as connection:
        row = connection.execute("SELECT count(DISTINCT xmin::text) FROM ledger.ledger_events")
        found = row.fetchone()
    assert found is not None
    return int(found[0])
