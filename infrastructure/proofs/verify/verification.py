"""Verifies everything: the log, its chain and checkpoints, all streams, snapshots and rows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import timedelta
from tempfile import TemporaryFile
from typing import IO, Any
from uuid import UUID

import psycopg
from psycopg import Connection

from application.ledger.event_macs import event_macs
from application.ledger.keys import LedgerKeys
from infrastructure.process.clock_ids import SystemClock
from infrastructure.proofs.checkpoints.file import CheckpointFile, read_records
from infrastructure.proofs.checkpoints.records import BadRecord, SignedCheckpoint
from infrastructure.proofs.checkpoints.settings import CheckpointSettings
from infrastructure.proofs.checkpoints.signing_key import PublicKey
from infrastructure.proofs.verify.chain import CheckpointCheck, verify_chain
from infrastructure.proofs.verify.events import read_entries
from infrastructure.proofs.verify.places import compare_places
from infrastructure.proofs.verify.published import PublishedUnavailable, copy_published
from infrastructure.proofs.verify.read_models import verify_read_models
from infrastructure.proofs.verify.report import PartReport, Progress
from infrastructure.proofs.verify.streams import verify_streams
from infrastructure.read_models.rebuild.shadow_tables import ReplayBounds

# Gets the part that is looked at, and how much of it is done, from 0 to 1.
OnProgress = Callable[[str, float], None]

_RECORDS_MAX = 1000
_NUMBER_MAX = 2**63 - 1


async def verify(
    service_url: str,
    nats_url: str,
    settings: CheckpointSettings,
    keys: Sequence[PublicKey],
    ledger_keys: LedgerKeys | None,
    *,
    on_progress: OnProgress,
    bounds: ReplayBounds | None = None,
) -> list[PartReport]:
    """Runs beside a service. While NATS is away, the checkpoints there are not looked at.

    keys: that checkpoints are signed with. ledger_keys: None verifies only the log with its chain
    and checkpoints. bounds: of the work done at once.
    Raises psycopg.Error, RebuildInProgress, OSError.
    """
    timeout_s = settings.connections.connect_timeout_s

    def connect() -> Connection[Any]:
        return psycopg.connect(
            service_url,
            autocommit=True,
            application_name="chatledger verify",
            connect_timeout=timeout_s,
        )

    def progress(part: str) -> Progress:
        return lambda done: on_progress(part, done)

    bounds = bounds or ReplayBounds()
    with connect() as connection, TemporaryFile() as spool, ExitStack() as stack:
        log_id, head = _identity(connection)
        pool = stack.enter_context(bounds.pool(head))
        sources = _Sources(connection, CheckpointFile(settings.folder, log_id), keys)
        check = CheckpointCheck("checkpoints", sources.records(), keys)
        published = await _published(nats_url, settings, log_id, spool, sources)
        log = verify_chain(
            connection,
            read_entries(connection, pool, service_url, until=head, connect_timeout_s=timeout_s),
            (check, published),
            until=head,
            on_progress=progress("log"),
        )
        parts = [log, check.report(log.seconds), published.report(log.seconds)]
        parts.append(_places(sources, spool if published.looked_at else None, settings))
        if ledger_keys is None:
            return parts
        parts += verify_streams(
            pool,
            service_url,
            ledger_keys,
            until=head,
            connect_timeout_s=timeout_s,
            on_progress=progress("streams"),
        )
        parts += await verify_read_models(
            pool,
            service_url,
            event_macs(ledger_keys),
            bounds=bounds,
            on_progress=progress("read models"),
        )
    return parts


async def _published(
    nats_url: str,
    settings: CheckpointSettings,
    log_id: UUID,
    spool: IO[bytes],
    sources: "_Sources",
) -> CheckpointCheck:
    """The check of the published checkpoints. spool: a file to keep them in, because there may be
    more than fit into memory."""
    unavailable = ""
    try:
        await copy_published(nats_url, settings, log_id, spool)
    except PublishedUnavailable as error:
        unavailable = f"what NATS has was not looked at: {error}"
        spool.truncate(0)
    spool.seek(0)
    repeated: list[str] = []
    records = read_records(spool, f"the stream {settings.stream}")
    check = CheckpointCheck(
        "checkpoints in NATS", sources.without_repeats(records, repeated), sources.keys
    )
    if unavailable:
        check.looked_at = False
        check.notes.append(unavailable)
    check.notes_later = repeated
    return check


def _places(
    sources: "_Sources", spool: IO[bytes] | None, settings: CheckpointSettings
) -> PartReport:
    """spool: the checkpoints that NATS has; None if it could not be read."""
    places = {
        "the database": sources.in_database(),
        f"the file {sources.file.path}": _well_formed(sources.file),
    }
    if spool is not None:
        spool.seek(0)
        places["NATS"] = _well_formed(read_records(spool, "NATS"))
    return compare_places(
        places,
        sources.keys,
        now=SystemClock().now(),
        within=timedelta(seconds=settings.published_within_s),
    )


def _well_formed(records: Iterable[SignedCheckpoint | str]) -> Iterator[SignedCheckpoint]:
    return (record for record in records if isinstance(record, SignedCheckpoint))


def _identity(connection: Connection[Any]) -> tuple[UUID, int]:
    """The log's id, and the position where it ends now. Later events are not looked at."""
    row = connection.execute(
        "SELECT id, greatest("
        "  (SELECT coalesce(max(position), 0) FROM ledger.links),"
        "  (SELECT coalesce(max(notification_id), 0) FROM ledger.ledger_events)"
        ") FROM ledger.identity"
    ).fetchone()
    assert row is not None, "the migration names the log"
    return row[0], row[1]


class _Sources:
    """The checkpoints that we have in the file and in the database."""

    def __init__(
        self, connection: Connection[Any], file: CheckpointFile, keys: Sequence[PublicKey]
    ) -> None:
        self._connection = connection
        self.file = file
        self.keys = keys

    def records(self) -> Iterator[SignedCheckpoint | str]:
        """Those of the file, and behind them those that only the database has."""
        last = 0
        for record in self.file:
            yield record
            if isinstance(record, SignedCheckpoint):
                last = max(last, record.checkpoint.position)
        for record in self.in_database(after=last):
            # Anybody with the service's role can add rows that are not ours.
            if self._is_ours(record):
                yield record

    def in_database(self, after: int = 0) -> Iterator[SignedCheckpoint]:
        """In the order of their positions."""
        last = (after, _NUMBER_MAX)
        while rows := self._connection.execute(
            "SELECT position, number, record FROM ledger.checkpoints"
            " WHERE (position, number) > (%s, %s) ORDER BY position, number LIMIT %s",
            (*last, _RECORDS_MAX),
        ).fetchall():
            last = rows[-1][:2]
            for _, _, text in rows:
                with suppress(BadRecord):
                    yield SignedCheckpoint.from_line(text)

    def without_repeats(
        self, records: Iterable[SignedCheckpoint | str], notes: list[str]
    ) -> Iterator[SignedCheckpoint | str]:
        """Leaves out checkpoints that were published again, which says nothing against the log.
        notes: gets a note about them at the end."""
        last, repeated = 0, 0
        for record in records:
            if isinstance(record, SignedCheckpoint) and self._is_ours(record):
                if record.checkpoint.position <= last and self._has(record):
                    repeated += 1
                    continue
                last = max(last, record.checkpoint.position)
            yield record
        if repeated:
            notes.append(
                f"{repeated} messages repeat earlier checkpoints: a process began again, or"
                " somebody else can publish there"
            )

    def _is_ours(self, record: SignedCheckpoint) -> bool:
        return any(record.is_signed_by(key) for key in self.keys)

    def _has(self, record: SignedCheckpoint) -> bool:
        found = self._connection.execute(
            "SELECT FROM ledger.checkpoints WHERE position = %s AND record = %s LIMIT 1",
            (record.checkpoint.position, record.line),
        )
        return found.rowcount == 1
