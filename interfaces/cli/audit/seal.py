"""`chatledger audit seal`."""

import argparse
import asyncio
import sys
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console
from rich.progress import Progress

from application.ledger.event_macs import event_macs
from infrastructure.log.seals import seal
from infrastructure.log.state import (
    LogState,
    check_nobody_writes,
    is_from_before_macs,
    read_log_state,
)
from infrastructure.secrets.ledger_key_file import LedgerKeyError, make_ledger_keys
from infrastructure.settings.service import Settings
from interfaces.cli.audit.verify import EXIT_DIFFERS, as_text, checkpoint_keys, verify_with
from interfaces.cli.options import settings_from
from interfaces.composition.endpoints import Endpoints, migrate_schema, open_endpoints


def seal_log(options: argparse.Namespace) -> int:
    """For a log from before events carried MACs, once. What is in it then counts as genuine for
    ever, so its chain and its checkpoints are verified first.

    0 when every event has its MAC, 1 when something differs and nothing was sealed.
    Raises LedgerKeyError, LogUnsealed while somebody could write.
    """
    settings = settings_from(options)
    with open_endpoints(settings, lambda _: None, may_join=True) as endpoints:
        with _owner(settings, endpoints) as connection:
            if is_from_before_macs(connection):
                check_nobody_writes(connection, _service_role(endpoints))
        migrate_schema(settings, endpoints, for_audit=True, for_sealing=True)
        state = _state(settings, endpoints)
        if not state.needs_sealing:
            print("every event carries its MAC, or was sealed before; there is nothing to do")
            return 0
        with _owner(settings, endpoints) as connection:
            check_nobody_writes(connection, _service_role(endpoints))
        _check_unused(settings.ledger_key_file)
        # A log from before there were checkpoints has no key either.
        keyless = not (state.has_checkpoints or options.public_key)
        public_keys = [] if keyless else checkpoint_keys(options, settings)
        parts = asyncio.run(verify_with(settings, endpoints, public_keys, None))
        print(as_text(parts))
        if any(part.findings.count for part in parts):
            print("nothing was sealed: find out first why the log differs", file=sys.stderr)
            return EXIT_DIFFERS
        _seal(settings, endpoints, state)
    return 0


def _state(settings: Settings, endpoints: Endpoints) -> LogState:
    with psycopg.connect(
        endpoints.service_url, connect_timeout=settings.database_timeout_s
    ) as connection:
        return read_log_state(connection)


def _owner(settings: Settings, endpoints: Endpoints) -> psycopg.Connection:
    return psycopg.connect(endpoints.owner_url, connect_timeout=settings.database_timeout_s)


def _service_role(endpoints: Endpoints) -> str:
    return str(conninfo_to_dict(endpoints.service_url).get("user", ""))


def _check_unused(path: Path) -> None:
    """Keys that exist belong to a log that was sealed or has had them from its beginning. Somebody
    who owns the database could make such a log look like an old one, to have forged events sealed.
    """
    if path.exists():
        raise LedgerKeyError(
            f"{path} is there already, and a log with keys has no events from before them: find out"
            " who changed ledger.before_macs or ledger.seals. If you know that this is an old log,"
            " or sealing it was interrupted, set LEDGER_KEYS to a new file"
        )


def _seal(settings: Settings, endpoints: Endpoints, state: LogState) -> None:
    path = settings.ledger_key_file
    keys = make_ledger_keys(path)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Sealing the log", total=1.0)
        count = seal(
            endpoints.owner_url,
            event_macs(keys),
            lambda done: bar.update(task, completed=done),
        )
    print(
        f"{count:,} events up to position {state.before_macs} are sealed under the key"
        f" {keys.current_id} of {path}; keep a copy of that file apart from the database"
    )
