"""The two tables that can be exported: the events, and the postings that they stand for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from application.books.disclosure import disclosed
from application.books.posted import ALL_TIME, Period, posted
from domain.accounts.events import MONEY_EVENTS
from domain.events import Event
from infrastructure.log.reader import LoggedEvent
from infrastructure.log.scan import LogScan


class Kind(Enum):
    """What a column holds: a whole number, a time in UTC, text, or text that is JSON."""

    NUMBER = "number"
    TIME = "time"
    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """with_personal: include names, addresses and what people and models wrote. Password hashes are
    never exported."""

    period: Period = ALL_TIME
    with_personal: bool = False


Row = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    columns: tuple[tuple[str, Kind], ...]
    rows: Callable[[LogScan, Selection], Iterator[Row]]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.columns)


def money_topics() -> frozenset[str]:
    return frozenset(event_type.TOPIC for event_type in MONEY_EVENTS)


def selected(
    scan: LogScan, rows: Iterator[LoggedEvent], period: Period
) -> Iterator[tuple[LoggedEvent, Event]]:
    for row, event in scan.events(rows):
        if period.covers(event.timestamp):
            yield row, event


def _event_rows(scan: LogScan, selection: Selection) -> Iterator[Row]:
    for row, event in selected(scan, scan.rows(), selection.period):
        yield (
            row.position,
            event.timestamp,
            row.recorded_at,
            row.topic,
            str(row.originator_id),
            row.originator_version,
            disclosed(event, with_personal=selection.with_personal),
        )


def _posting_rows(scan: LogScan, selection: Selection) -> Iterator[Row]:
    for row, event in selected(scan, scan.rows(money_topics()), selection.period):
        for posting in posted(row.position, event):
            yield (
                posting.position,
                posting.line,
                posting.time,
                posting.event,
                str(posting.user_id),
                posting.source,
                posting.destination,
                posting.amount_micro,
                posting.what,
                str(posting.reference),
            )


EVENTS = Table(
    columns=(
        ("position", Kind.NUMBER),
        ("time", Kind.TIME),
        ("recorded_at", Kind.TIME),
        ("event", Kind.TEXT),
        ("stream_id", Kind.TEXT),
        ("stream_version", Kind.NUMBER),
        ("fields", Kind.JSON),
    ),
    rows=_event_rows,
)
POSTINGS = Table(
    columns=(
        ("position", Kind.NUMBER),
        ("line", Kind.NUMBER),
        ("time", Kind.TIME),
        ("event", Kind.TEXT),
        ("user_id", Kind.TEXT),
        ("source", Kind.TEXT),
        ("destination", Kind.TEXT),
        ("amount_micro", Kind.NUMBER),
        ("what", Kind.TEXT),
        ("reference", Kind.TEXT),
    ),
    rows=_posting_rows,
)
TABLES = {"events": EVENTS, "postings": POSTINGS}

json_text = msgspec.json.Encoder().encode
