"""What the events of a stretch of the log come to: folded in memory, ready to be copied.

A stretch is folded without knowing what was before it, so several can be folded at once, by
threads or processes of their own, as long as they are written in order.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from eventsourcing.persistence import MapperDeserialisationError
from psycopg import sql

from application.ledger.event_macs import StateMacs
from domain.events import Event
from infrastructure.log.reader import ReadBounds
from infrastructure.log.workers import LogWorker
from infrastructure.process.garbage import collection_paused
from infrastructure.read_models.rebuild.csv_rows import COPY_FORMAT, csv_rows
from infrastructure.read_models.rebuild.folded_rows import CannotFold, Chunk, Values
from infrastructure.read_models.rebuild.lean_events import LeanEvents, LeanRow, NotLean, Taker
from infrastructure.read_models.statement_pipeline import Statement
from infrastructure.read_models.writer import Statements
from projections.registry import PROJECTIONS
from projections.row_changes import RowChange

# What a state that is not ours can make decoders and handlers raise.
_FOREIGN = (
    NotLean,
    CannotFold,
    MapperDeserialisationError,
    msgspec.MsgspecError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
)


@dataclass(frozen=True, kw_only=True)
class Copy:
    """body: lines of CSV."""

    statement: bytes
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Folded:
    """Of the events behind position `after` up to and with `until`.

    changes: of rows from before, to be made first. copies: new rows. foldable: whether that is
    all; else the events are to be written as the live projector does.
    """

    after: int
    until: int
    changes: Sequence[Statement] = ()
    copies: Sequence[Copy] = ()
    foldable: bool = True


@dataclass(frozen=True, kw_only=True)
class FoldPlan:
    """held: by projections' names, the positions that their rows hold already. It can be sent to
    another process."""

    service_url: str
    statements: Statements
    held: Mapping[str, int]
    bounds: ReadBounds
    connect_timeout_s: int
    macs: StateMacs

    @property
    def topics(self) -> list[str]:
        """Stored names of the events that change anything."""
        return sorted(event_type.TOPIC for event_type in self.takers())

    def takers(self) -> dict[type[Event], list[Taker]]:
        takers: dict[type[Event], list[Taker]] = {}
        for projection in PROJECTIONS:
            if projection.name in self.held:
                for event_type, handler in projection.handlers.items():
                    taker = Taker(handler=handler, held=self.held[projection.name])
                    takers.setdefault(event_type, []).append(taker)
        return takers


# Most stretches are within the bound, and then nothing has to be summed up row by row.
_MEASURE = """
SELECT coalesce(sum(octet_length(state)), 0)::bigint FROM ledger.ledger_events
WHERE notification_id > %(after)s AND notification_id <= %(until)s
"""
_READ = """
SELECT notification_id, topic, originator_id::text, originator_version, state
FROM ledger.events_with_macs
WHERE notification_id > %(after)s AND notification_id <= %(until)s AND topic = ANY(%(topics)s)
ORDER BY notification_id
"""
# The last position before the bytes are exceeded; the first one if it alone exceeds them.
_FIND_END = """
SELECT max(notification_id) FROM (
    SELECT notification_id, sum(octet_length(state)) OVER (ORDER BY notification_id)
        - octet_length(state) AS bytes_before
    FROM ledger.ledger_events
    WHERE notification_id > %(after)s AND notification_id <= %(until)s
) AS measured
WHERE bytes_before < %(bytes)s
"""


class Folder(LogWorker):
    """Reads and folds one stretch at a time."""

    def __init__(self, plan: FoldPlan) -> None:
        super().__init__(plan.service_url, "chatledger replay", plan.connect_timeout_s)
        self.plan = plan
        self._events = LeanEvents(plan.takers(), plan.macs)

    def fold(self, after: int, until: int) -> Folded:
        """Ends before `until` where there are more bytes than fit into memory. Raises
        psycopg.Error."""
        until, rows = self.read(after, until)
        # Nothing made here refers to itself, and walking all of it takes half of the time.
        with collection_paused():
            try:
                chunk = Chunk(self.plan.statements.primary_keys)
                for changes in self.changes(rows):
                    chunk.add(changes)
                return self.folded(chunk, after, until)
            except _FOREIGN:
                # The live projector's way says what is wrong, if anything is.
                return Folded(after=after, until=until, foldable=False)

    def changes(self, rows: Iterable[LeanRow]) -> Iterator[Iterable[RowChange]]:
        return self._events.changes(rows)

    def read(self, after: int, until: int) -> tuple[int, list[LeanRow]]:
        bounds: dict[str, Any] = {
            "after": after,
            "until": until,
            "topics": self._events.topics,
            "bytes": self.plan.bounds.bytes_max,
        }
        with self.connection.cursor(binary=True) as cursor:
            ((measured,),) = cursor.execute(_MEASURE, bounds, prepare=True).fetchall()
            if measured > self.plan.bounds.bytes_max:
                ((until,),) = cursor.execute(_FIND_END, bounds, prepare=True).fetchall()
                bounds["until"] = until
            return until, cursor.execute(_READ, bounds, prepare=True).fetchall()

    def folded(self, chunk: Chunk, after: int, until: int) -> Folded:
        text = self.plan.statements.text
        return Folded(
            after=after,
            until=until,
            changes=[(text(group.form), (group.json(),)) for group in chunk.statements()],
            copies=[self._copy(*part) for part in chunk.rows()],
        )

    def _copy(self, table: str, columns: tuple[str, ...], rows: Sequence[Values]) -> Copy:
        statements = self.plan.statements
        json_columns = [name for name in statements.json_columns(table) if name in columns]
        statement = sql.SQL("COPY {} ({}) FROM STDIN " + COPY_FORMAT).format(
            sql.Identifier(statements.schema, table),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
        )
        return Copy(statement=statement.as_bytes(None), body=csv_rows(rows, json_columns))
