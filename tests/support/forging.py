"""An attacker with the database's credentials and all of this code, but not the ledger's keys."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from eventsourcing.persistence import StoredEvent

from application.ledger.keys import LedgerKeys
from application.ledger.mapping import EventMapper
from domain.events import Event
from tests.support.servers import DatabaseUrls

# Made-up keys, under the id of the right ones.
OTHER_KEYS = LedgerKeys("test", {"test": b"a key of somebody else".ljust(32, b".")})
UNKNOWN_KEYS = LedgerKeys("stolen", {"stolen": b"a key of somebody else".ljust(32, b".")})
_MARK = b',"mac":"'


class Forger:
    """Connects as the service's own role."""

    def __init__(self, urls: DatabaseUrls) -> None:
        self._url = urls.service

    def insert(self, *rows: StoredEvent, table: str = "ledger_events") -> int:
        """Returns the position of the last inserted event."""
        with psycopg.connect(self._url) as connection:
            for row in rows:
                connection.execute(
                    f"INSERT INTO ledger.{table}"
                    " (originator_id, originator_version, topic, state)"
                    " VALUES (%s, %s, %s, %s)".encode(),
                    (row.originator_id, row.originator_version, row.topic, row.state),
                )
            ((head,),) = connection.execute(
                "SELECT max(notification_id) FROM ledger.ledger_events"
            ).fetchall()
        return int(head)

    def stored(self, stream_id: UUID, table: str = "ledger_events") -> list[StoredEvent]:
        with psycopg.connect(self._url) as connection:
            return [
                StoredEvent(*row)
                for row in connection.execute(
                    "SELECT originator_id, originator_version, topic, state"
                    f" FROM ledger.{table} WHERE originator_id = %s"
                    " ORDER BY originator_version".encode(),
                    (stream_id,),
                ).fetchall()
            ]


def made(event: Any, keys: LedgerKeys = OTHER_KEYS) -> StoredEvent:
    return EventMapper(keys).to_stored_event(event)


def bare(stored: StoredEvent) -> bytes:
    """The state without its MAC."""
    return stored.state[: stored.state.rindex(_MARK)] + b"}"


def mac_of(stored: StoredEvent) -> bytes:
    return stored.state[stored.state.rindex(_MARK) :]


def with_state(stored: StoredEvent, state: bytes) -> StoredEvent:
    return StoredEvent(stored.originator_id, stored.originator_version, stored.topic, state)


def borrowing(forged: StoredEvent, *, of: StoredEvent) -> StoredEvent:
    """The state with the right MAC of another event."""
    return with_state(forged, bare(forged)[:-1] + mac_of(of))


def changed(stored: StoredEvent, **fields: Any) -> bytes:
    """The state with other fields, and its old MAC."""
    return msgspec.json.encode(msgspec.json.decode(stored.state) | fields)


Forgery = Callable[[Event, list[StoredEvent]], StoredEvent]

# The MAC of an event that would come next in the stored stream.
FORGERIES: dict[str, Forgery] = {
    "without a MAC": lambda event, _: with_state(made(event), bare(made(event))),
    "with a MAC under a key of one's own": lambda event, _: made(event),
    "with a MAC under a key that nobody knows": lambda event, _: made(event, UNKNOWN_KEYS),
    "with a MAC of an earlier event": lambda event, stream: borrowing(made(event), of=stream[-1]),
    "that is an earlier event once more": lambda event, stream: StoredEvent(
        stream[-1].originator_id, event.originator_version, stream[-1].topic, stream[-1].state
    ),
    "with an empty MAC": lambda event, _: with_state(
        made(event), bare(made(event))[:-1] + b',"mac":""}'
    ),
    "with an empty MAC under the right key": lambda event, _: with_state(
        made(event), bare(made(event))[:-1] + b',"mac":"test."}'
    ),
    "with a MAC that is cut short": lambda event, _: with_state(
        made(event), made(event).state[:-8] + b'"}'
    ),
    "with a MAC that is no text": lambda event, _: with_state(
        made(event), bare(made(event))[:-1] + b',"mac":"\xff.\xff"}'
    ),
}
