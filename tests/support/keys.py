"""The keys of ledgers that tests make."""

from uuid import UUID

from eventsourcing.persistence import StoredEvent

from application.event_macs import event_macs
from application.ledger_keys import LedgerKeys

LEDGER_KEYS = LedgerKeys("test", {"test": b"a key that only tests may use".ljust(32, b".")})
EVENT_MACS = event_macs(LEDGER_KEYS)


def with_mac(stored: StoredEvent) -> StoredEvent:
    """As whoever has the keys would store this state, whatever is in it."""
    stream = UUID(str(stored.originator_id)).bytes
    version, topic = stored.originator_version, stored.topic
    state = EVENT_MACS.add(stream, version, topic, stored.state)
    return StoredEvent(stored.originator_id, version, topic, state)
