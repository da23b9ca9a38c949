"""`chatledger audit trial-balance|statement|balance|export`: the books, from the log alone.

They only read, so they work beside a running service and under the service's own role.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from application.books.posted import Period
from application.books.statements import Statement, statement
from application.books.trial_balance import TrialBalance
from application.ledger.event_macs import event_macs
from domain.claims.uniqueness import ValueClaimed
from domain.errors import UserNotFound
from domain.events import Event
from domain.identifiers import account_id, email_claim_id, username_claim_id
from domain.users.events import UserRegistered
from infrastructure.exports.export import export
from infrastructure.exports.tables import TABLES, Selection, money_topics
from infrastructure.log.scan import LogScan, open_scan
from infrastructure.process.clock_ids import SystemClock
from infrastructure.secrets.ledger_key_file import load_ledger_keys
from interfaces.cli.audit.book_tables import amount, statement_text, trial_balance_text
from interfaces.cli.audit.moments import at_text, before_option, period_option, position_max
from interfaces.cli.options import settings_from
from interfaces.composition.endpoints import open_endpoints
from interfaces.exact_json import write_json

EXIT_BOOKS_WRONG = 1

E = TypeVar("E", bound=Event)


def books(options: argparse.Namespace) -> int:
    """Raises OptionsRefused, UserNotFound, NoLedger, ExportRefused, MapperDeserialisationError,
    psycopg.Error."""
    with _scan(options) as scan:
        status = _ACTIONS[options.action](options, scan)
    if scan.first_left_out is not None:
        print(
            f"chatledger: {scan.left_out} events that this ledger did not write are left out; the"
            f" first: {scan.first_left_out}",
            file=sys.stderr,
        )
    return status


@contextmanager
def _scan(options: argparse.Namespace) -> Iterator[LogScan]:
    settings = settings_from(options)
    with (
        open_endpoints(settings, lambda _: None, may_join=True) as endpoints,
        open_scan(
            endpoints.service_url,
            lambda: event_macs(load_ledger_keys(settings.ledger_key_file)),
            connect_timeout_s=settings.database_timeout_s,
        ) as scan,
    ):
        yield scan


def _trial_balance(options: argparse.Namespace, scan: LogScan) -> int:
    totals = TrialBalance(Period(until=before_option(options, _now())))
    rows = scan.rows(money_topics(), until=position_max(options, scan.head))
    for row, event in scan.events(rows):
        totals.add(row.position, event)
    right = totals.difference_micro == 0 and not totals.disagreements
    if options.json:
        lines = totals.accounts if options.accounts else totals.classes
        _print_json(
            {
                "position": totals.position,
                "events": totals.events,
                "difference_micro": totals.difference_micro,
                "lines": lines,
                "disagreements": totals.disagreements,
            }
        )
    else:
        _print_lines(trial_balance_text(totals, with_accounts=options.accounts))
    return 0 if right else EXIT_BOOKS_WRONG


def _statement(options: argparse.Namespace, scan: LogScan) -> int:
    user_id, username = _find_user(scan, options.user)
    told = _statement_of(scan, user_id, period_option(options, _now()))
    if options.json:
        _print_json({"username": username, **msgspec.to_builtins(told)})
    else:
        _print_lines(statement_text(told, username))
    return 0


def _balance(options: argparse.Namespace, scan: LogScan) -> int:
    user_id, username = _find_user(scan, options.user)
    before = before_option(options, _now())
    position = position_max(options, scan.head)
    totals = _statement_of(scan, user_id, Period(until=before), position).closing
    if options.json:
        _print_json(
            {
                "user_id": user_id,
                "username": username,
                "before": before,
                "position_max": position,
                **msgspec.to_builtins(totals),
                "total_micro": totals.total_micro,
            }
        )
        return 0
    as_of = "now" if options.at is None else at_text(options.at)
    if options.at_position is not None:
        as_of = f"after position {position}"
    print(f"Balance of {username}, user {user_id}, {as_of}; in credits")
    rows = (
        ("Available", totals.available_micro),
        ("Held", totals.held_micro),
        ("Total", totals.total_micro),
    )
    width = max(len(amount(value)) for _, value in rows)
    for name, value in rows:
        print(f"{name:9}  {amount(value):>{width}}")
    return 0


def _export(options: argparse.Namespace, scan: LogScan) -> int:
    selection = Selection(
        period=period_option(options, _now()),
        with_personal=options.with_personal,
    )
    count = export(scan, options.out, options.format, TABLES[options.table], selection)
    if options.json:
        _print_json({"file": str(options.out), "rows": count, "head": scan.head})
    else:
        print(f"{options.out}: {count:,} rows, of a log up to position {scan.head}")
    return 0


def _statement_of(
    scan: LogScan, user_id: UUID, period: Period, position_max: int | None = None
) -> Statement:
    events = scan.events(scan.stream(account_id(user_id), until=position_max or scan.head))
    return statement(user_id, period, ((row.position, event) for row, event in events))


def _now() -> datetime:
    return SystemClock().now()


def _find_user(scan: LogScan, text: str) -> tuple[UUID, str]:
    """By id, username or e-mail address, from the log. Raises UserNotFound."""
    user_id = _as_id(text)
    if user_id is None:
        for claim_id in (username_claim_id(text), email_claim_id(text)):
            claimed = _first(scan, claim_id, ValueClaimed)
            if claimed is not None:
                user_id = claimed.owner_id
    registered = None if user_id is None else _first(scan, user_id, UserRegistered)
    if user_id is None or registered is None:
        raise UserNotFound(
            f"there is no user {text!r}; give a username, an e-mail address or an id"
        )
    return user_id, registered.username


def _first(scan: LogScan, stream_id: UUID, event_type: type[E]) -> E | None:
    for _, event in scan.events(scan.stream(stream_id)):
        return event if isinstance(event, event_type) else None
    return None


def _as_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _print_json(value: Any) -> None:
    print(write_json(value).decode())


def _print_lines(lines: Iterator[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)


_ACTIONS: dict[str, Callable[[argparse.Namespace, LogScan], int]] = {
    "trial-balance": _trial_balance,
    "statement": _statement,
    "balance": _balance,
    "export": _export,
}
