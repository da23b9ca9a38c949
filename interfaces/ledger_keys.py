"""The part of the composition root that finds the ledger's keys."""

import psycopg

from application.ledger_keys import LedgerKeys
from infrastructure.ledger_key_file import load_ledger_keys, make_ledger_keys
from infrastructure.settings import Settings
from interfaces.endpoints import Endpoints


def ledger_keys(settings: Settings, endpoints: Endpoints) -> LedgerKeys:
    """Those of the key file, which is made for a ledger without events. The schema is there.

    Raises LedgerKeyError, OSError, psycopg.Error.
    """
    path = settings.ledger_key_file
    if path.exists() or not _is_empty(settings, endpoints):
        return load_ledger_keys(path)
    return make_ledger_keys(path)


def _is_empty(settings: Settings, endpoints: Endpoints) -> bool:
    with psycopg.connect(
        endpoints.service_url, connect_timeout=settings.database_timeout_s
    ) as connection:
        row = connection.execute("SELECT NOT EXISTS (SELECT FROM ledger.ledger_events)").fetchone()
    return row == (True,)
