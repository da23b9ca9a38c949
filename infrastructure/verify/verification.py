"""All of it: the log, its chain and checkpoints, every stream and snapshot, every row."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import islice
from tempfile import TemporaryFile
from typing import IO, Any
from uuid import UUID

import psycopg
from psycopg import Connection

from application.event_macs import event_macs
from application.ledger_keys import LedgerKeys
from infrastructure.checkpoints.file import CheckpointFile, read_records
from infrastructure.checkpoints.records import BadRecord, SignedCheckpoint
from infrastructure.checkpoints.settings import CheckpointSettings
from infrastructure.checkpoints.signing_key import PublicKey
from infrastructure.postgres.replay import ReplayBounds
from infrastructure.verify.chain import CheckpointCheck, verify_chain
from infrastructure.verify.events import read_entries
from infrastructure.verify.published import PublishedUnavailable, copy_published
from infrastructure.verify.read_models import verify_read_models
from infrastructure.verify.report import Difference, Findings, PartReport, Progress
from infrastructure.verify.streams import verify_streams

# Told what is looked at, and how much of it is done.
OnProgress = Callable[[str, float], None]

_RECORDS_MAX = 1000


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
    """Beside a running service; with NATS away, without what it has. keys: of checkpoints.
    ledger_keys: None for the log with its chain and checkpoints alone. bounds: of the work done at
    once. Raises psycopg.Error, RebuildInProgress, OSError."""
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
        published = await _published(nats_url, settings, log_id, spool, keys)
        log = verify_chain(
            connection,
            read_entries(connection, pool, service_url, until=head, connect_timeout_s=timeout_s),
            (check, published),
            until=head,
            on_progress=progress("log"),
        )
        sources.compare(check.findings)
        check.notes += sources.notes
        parts = [log, check.report(log.seconds), published.report(log.seconds)]
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
    keys: Sequence[PublicKey],
) -> CheckpointCheck:
    """spool: where they are kept meanwhile, because there may be more than fit into memory."""
    try:
        await copy_published(nats_url, settings, log_id, spool)
        notes = []
    except PublishedUnavailable as error:
        notes = [f"what NATS has was not looked at: {error}"]
        spool.truncate(0)
    spool.seek(0)
    check = CheckpointCheck(
        "checkpoints in NATS", read_records(spool, f"the stream {settings.stream}"), keys
    )
    check.notes += notes
    return check


def _identity(connection: Connection[Any]) -> tuple[UUID, int]:
    """Of the log, and where it ends: what is committed later is not looked at."""
    row = connection.execute(
        "SELECT id, greatest("
        "  (SELECT coalesce(max(position), 0) FROM ledger.links),"
        "  (SELECT coalesce(max(notification_id), 0) FROM ledger.ledger_events)"
        ") FROM ledger.identity"
    ).fetchone()
    assert row is not None, "the migration names the log"
    return row[0], row[1]


class _Sources:
    """The checkpoints of the file, and behind them those that the database alone has."""

    def __init__(
        self, connection: Connection[Any], file: CheckpointFile, keys: Sequence[PublicKey]
    ) -> None:
        self._connection = connection
        self._file = file
        self._keys = keys
        self.notes: list[str] = []

    def records(self) -> Iterator[SignedCheckpoint | str]:
        last = 0
        for record in self._file:
            yield record
            if isinstance(record, SignedCheckpoint):
                last = max(last, record.checkpoint.position)
        alone = 0
        for record in self._behind(last):
            yield record
            alone += 1
        if alone:
            # The service writes them into both; whoever owns the database could make do with one.
            self.notes.append(
                f"{alone} checkpoints behind position {last} are in the database and not in"
                f" {self._file.path}"
            )

    def _behind(self, last: int) -> Iterator[SignedCheckpoint]:
        while True:
            rows = self._connection.execute(
                "SELECT position, record FROM ledger.checkpoints WHERE position > %s"
                " ORDER BY position LIMIT %s",
                (last, _RECORDS_MAX),
            ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            for _, text in rows:
                with suppress(BadRecord):
                    record = SignedCheckpoint.from_line(text)
                    # Anybody with the service's role can add rows that are not ours.
                    if any(record.is_signed_by(key) for key in self._keys):
                        yield record

    def compare(self, findings: Findings) -> None:
        """Every checkpoint of the file is in the database, too."""
        records = (record for record in self._file if isinstance(record, SignedCheckpoint))
        while page := {record.line: record for record in islice(records, _RECORDS_MAX)}:
            positions = [record.checkpoint.position for record in page.values()]
            for (text,) in self._connection.execute(
                "SELECT record FROM ledger.checkpoints WHERE position = ANY(%s)", (positions,)
            ).fetchall():
                page.pop(text, None)
            for record in page.values():
                position = record.checkpoint.position
                findings.add(
                    Difference(
                        where="checkpoints",
                        position=position,
                        text=f"the database lacks the checkpoint at position {position}, which"
                        f" {self._file.path} has",
                    )
                )
