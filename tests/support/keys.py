"""The keys of ledgers that tests make."""

import json
from base64 import b64encode
from pathlib import Path
from uuid import UUID

from eventsourcing.persistence import StoredEvent

from application.ledger.event_macs import event_macs
from application.ledger.keys import LedgerKeys

LEDGER_KEYS = LedgerKeys("test", {"test": b"a key that only tests may use".ljust(32, b".")})
EVENT_MACS = event_macs(LEDGER_KEYS)


def with_mac(stored: StoredEvent) -> StoredEvent:
    """The state as somebody with the keys would store it, whatever is in it."""
    stream = UUID(str(stored.originator_id)).bytes
    version, topic = stored.originator_version, stored.topic
    state = EVENT_MACS.add(stream, version, topic, stored.state)
    return StoredEvent(stored.originator_id, version, topic, state)


def key_file(path: Path, keys: LedgerKeys = LEDGER_KEYS) -> str:
    """A file for the setting LEDGER_KEYS."""
    secrets = {key_id: b64encode(secret).decode() for key_id, secret in keys.secrets.items()}
    path.write_text(json.dumps({"current": keys.current_id, "keys": secrets}))
    return str(path)
