"""The part of the composition root that finds the ledger's keys."""

from contextlib import closing

import psycopg

from application.ledger.event_macs import StateMacs, event_macs
from application.ledger.keys import LedgerKeys
from infrastructure.log.state import check_first_event, read_log_state
from infrastructure.secrets.ledger_key_file import load_ledger_keys, make_ledger_keys
from infrastructure.settings.service import Settings
from interfaces.composition.endpoints import Endpoints


def ledger_keys(settings: Settings, endpoints: Endpoints) -> LedgerKeys:
    """The keys of the key file, checked against the log; for callers that write events or rely on
    them. For a ledger without events the file is made. The schema must be up to date.

    Raises LogUnsealed, OtherKeys, LedgerKeyError, OSError, psycopg.Error.
    """
    keys = keys_of_file(settings, endpoints)
    with closing(_connect(settings, endpoints)) as connection:
        check_first_event(connection, event_macs(keys))
    return keys


def keys_of_file(settings: Settings, endpoints: Endpoints) -> LedgerKeys:
    """The keys of the key file, unchecked: they may be another log's. For callers that find out
    what is wrong with a log. For a ledger without events the file is made.

    Raises LogUnsealed, LedgerKeyError, OSError, psycopg.Error.
    """
    with closing(_connect(settings, endpoints)) as connection:
        state = read_log_state(connection)
    state.check()
    path = settings.ledger_key_file
    if state.is_empty and not path.exists():
        return make_ledger_keys(path)
    return load_ledger_keys(path)


def macs_of_log(settings: Settings, endpoints: Endpoints) -> StateMacs | None:
    """For a backup, which takes any log as it is. None where the log is empty, or is from before
    events carried MACs and is not sealed.

    Raises LedgerKeyError, OSError, psycopg.Error.
    """
    with closing(_connect(settings, endpoints)) as connection:
        known = connection.execute("SELECT to_regclass('ledger.before_macs')").fetchone()
        if known == (None,):
            return None
        state = read_log_state(connection)
    if state.is_empty or state.needs_sealing:
        return None
    return event_macs(load_ledger_keys(settings.ledger_key_file))


def _connect(settings: Settings, endpoints: Endpoints) -> psycopg.Connection:
    return psycopg.connect(
        endpoints.service_url, autocommit=True, connect_timeout=settings.database_timeout_s
    )
