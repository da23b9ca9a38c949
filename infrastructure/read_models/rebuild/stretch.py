"""A stretch of the log, folded in memory into rows that are ready to be copied.

Folding needs nothing from before the stretch, so threads or processes can fold several at once, as
long as they are written in order.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from eventsourcing.persistence import MapperDeserialisationError

from application.ledger.event_macs import StateMacs
from infrastructure.log.reader import LoggedEvent, ReadBounds
from infrastructure.log.workers import LogWorker
from infrastructure.process.garbage import collection_paused
from infrastructure.read_models.folded_rows import Fold, fold_changes
from infrastructure.read_models.rebuild.csv_rows import COPY_FORMAT, csv_rows
from infrastructure.read_models.row_sql import RowGroup, RowSql
from infrastructure.read_models.statement_pipeline import SqlStatement
from projections.registry import PROJECTIONS, changes_of, handlers_by_type
from projections.row_changes import RowChange

# What a state that this service did not write can make decoders and handlers raise.
_FOREIGN = (
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
class Part:
    """changes: of rows from before, to be made first. copies: new rows."""

    changes: Sequence[SqlStatement]
    copies: Sequence[Copy]


@dataclass(frozen=True, kw_only=True)
class Folded:
    """The events behind position `after` up to and with `until`.

    parts: to be written one after the other; nearly always one. None where the events could not be
    folded and are to be written as the live projector does.
    """

    after: int
    until: int
    parts: Sequence[Part] | None


@dataclass(frozen=True, kw_only=True)
class FoldPlan:
    """What a worker needs; it can be sent to another process. positions: by projections' names, how
    far their rows are already."""

    service_url: str
    sql: RowSql
    positions: Mapping[str, int]
    bounds: ReadBounds
    connect_timeout_s: int
    macs: StateMacs


# Most stretches are within the bound, and then there is no need to sum up row by row.
_MEASURE = """
SELECT coalesce(sum(octet_length(state)), 0)::bigint FROM ledger.ledger_events
WHERE notification_id > %(after)s AND notification_id <= %(until)s
"""
_READ = """
SELECT notification_id, topic, originator_id, originator_version, state
FROM ledger.events_with_macs
WHERE notification_id > %(after)s AND notification_id <= %(until)s AND topic = ANY(%(topics)s)
ORDER BY notification_id
"""
# The last position that is within the bound of bytes; the first one if it alone exceeds it.
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
        positions = plan.positions
        self._handlers = handlers_by_type(
            {each: positions[each.name] for each in PROJECTIONS if each.name in positions}
        )
        # Stored names of the events that change anything.
        self._topics = sorted(event_type.TOPIC for event_type in self._handlers)

    def fold(self, after: int, until: int) -> Folded:
        """Ends before `until` where there are more bytes than fit into memory. Raises
        psycopg.Error."""
        until, events = self.read(after, until)
        # There are no cycles in what is made here, and looking for some takes half of the time.
        with collection_paused():
            try:
                parts = [self.part(fold) for fold in self.folds(self.changes(events))]
            except _FOREIGN:
                # Writing these events as the live projector does will say what is wrong with them.
                return Folded(after=after, until=until, parts=None)
            return Folded(after=after, until=until, parts=parts)

    def read(self, after: int, until: int) -> tuple[int, list[LoggedEvent]]:
        """Up to where, and the events that change any row."""
        bounds: dict[str, Any] = {
            "after": after,
            "until": until,
            "topics": self._topics,
            "bytes": self.plan.bounds.bytes_max,
        }
        with self.connection.cursor(binary=True) as cursor:
            ((measured,),) = cursor.execute(_MEASURE, bounds, prepare=True).fetchall()
            if measured > self.plan.bounds.bytes_max:
                ((until,),) = cursor.execute(_FIND_END, bounds, prepare=True).fetchall()
                bounds["until"] = until
            rows = cursor.execute(_READ, bounds, prepare=True).fetchall()
            return until, [LoggedEvent(*row) for row in rows]

    def changes(self, events: Iterable[LoggedEvent]) -> Iterator[RowChange]:
        """Raises EventNotAuthentic, MapperDeserialisationError."""
        for logged in events:
            event = logged.decode(self.plan.macs)
            yield from changes_of(event, logged.position, self._handlers)

    def folds(self, changes: Iterable[RowChange]) -> list[Fold]:
        return fold_changes(changes, self.plan.sql.primary_keys)

    def part(self, fold: Fold) -> Part:
        sql = self.plan.sql
        return Part(
            changes=[sql.statement(group) for group in fold.changed_rows()],
            copies=[self._copy(group) for group in fold.new_rows()],
        )

    def _copy(self, group: RowGroup) -> Copy:
        sql, table, columns = self.plan.sql, group.form.table, tuple(group.rows[0])
        json_columns = [name for name in sql.json_columns(table) if name in columns]
        return Copy(
            statement=sql.copy(table, columns, COPY_FORMAT),
            body=csv_rows(group.rows, json_columns),
        )
