"""The log as JSON Lines, CSV and Parquet: every row unchanged, and nothing that must not leave."""

import csv
import json
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from arro3.io import read_parquet

from application.books.posted import Period, posted
from domain.accounts.postings import postings
from infrastructure.exports.export import export
from infrastructure.exports.formats import ExportRefused, utc_text, write_csv
from infrastructure.exports.tables import EVENTS, POSTINGS, Selection
from infrastructure.log.scan import LogScan, NoLedger, open_scan
from interfaces.cli.audit.books_arguments import FORMATS
from tests.infrastructure.exports.conftest import Stored
from tests.support.keys import EVENT_MACS
from tests.support.servers import DatabaseUrls

EVERYTHING = Selection()


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a Parquet file."""
    table = read_parquet(path).read_all()
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def test_json_lines_hold_every_event_in_order(
    scan: LogScan, stored: Stored, tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl"

    count = export(scan, path, "jsonl", EVENTS, EVERYTHING)

    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert count == len(lines) == len(stored.events)
    for line, (position, event) in zip(lines, stored.events, strict=True):
        assert line["position"] == position
        assert line["event"] == event.TOPIC
        assert (line["stream_id"], line["stream_version"]) == (
            str(event.originator_id),
            event.originator_version,
        )
        assert datetime.fromisoformat(line["time"]) == event.timestamp
    amounts = [line["fields"]["amount_micro"] for line in lines if "amount_micro" in line["fields"]]
    assert amounts == [e.amount_micro for _, e in stored.events if hasattr(e, "amount_micro")]


@pytest.mark.parametrize("kept_back", [True, False])
def test_personal_text_leaves_only_when_it_is_asked_for_and_a_password_never(
    scan: LogScan, tmp_path: Path, kept_back: bool
) -> None:
    path = tmp_path / "log.jsonl"
    export(scan, path, "jsonl", EVENTS, Selection(with_personal=not kept_back))
    written = path.read_text(encoding="utf-8")

    for personal in ("@example.com", "Why?", "Because.", "世界"):
        assert (personal in written) is not kept_back
    assert "$2b$04$hash" not in written
    assert '"password_hash":null' in written


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_postings_are_the_same_rows_in_every_table(
    scan: LogScan, stored: Stored, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / f"postings.{kind}"

    count = export(scan, path, kind, POSTINGS, EVERYTHING)

    expected = [each for position, event in stored.events for each in posted(position, event)]
    rows = read_csv(path) if kind == "csv" else read_rows(path)
    assert count == len(rows) == len(expected)
    for row, posting in zip(rows, expected, strict=True):
        assert int(row["position"]) == posting.position
        assert int(row["amount_micro"]) == posting.amount_micro
        assert (row["source"], row["destination"]) == (posting.source, posting.destination)
        assert row["reference"] == str(posting.reference)
        time = row["time"] if kind == "parquet" else datetime.fromisoformat(row["time"])
        assert time == posting.time
        assert row["what"] == posting.what


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_events_are_the_same_rows_in_every_table(
    scan: LogScan, stored: Stored, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / f"events.{kind}"

    export(scan, path, kind, EVENTS, EVERYTHING)

    rows = read_csv(path) if kind == "csv" else read_rows(path)
    assert [int(row["position"]) for row in rows] == [position for position, _ in stored.events]
    amounts = [json.loads(row["fields"]).get("amount_micro") for row in rows]
    assert amounts == [getattr(event, "amount_micro", None) for _, event in stored.events]


def test_a_period_holds_what_happened_in_it(scan: LogScan, stored: Stored, tmp_path: Path) -> None:
    times = sorted(event.timestamp for _, event in stored.events)
    period = Period(since=times[len(times) // 3], until=times[2 * len(times) // 3])
    path = tmp_path / "part.jsonl"

    count = export(scan, path, "jsonl", EVENTS, Selection(period=period))

    assert count == sum(period.covers(event.timestamp) for _, event in stored.events)
    assert 0 < count < len(stored.events)


def test_what_is_committed_later_is_not_in_a_scan_that_has_begun(
    event_log_of_two: tuple[DatabaseUrls, list[int]],
) -> None:
    urls, positions = event_log_of_two
    with open_scan(urls.service, lambda: EVENT_MACS) as scan:
        with psycopg.connect(urls.service) as connection:
            connection.execute(
                "INSERT INTO ledger.ledger_events (originator_id, originator_version, topic, state)"
                " SELECT gen_random_uuid(), 1, topic, state FROM ledger.ledger_events LIMIT 1"
            )
        assert [row.position for row in scan.rows(batch_events=1)] == positions


def test_an_export_is_whole_or_not_there_and_belongs_to_its_writer(
    scan: LogScan, tmp_path: Path
) -> None:
    path = tmp_path / "log.csv"
    export(scan, path, "csv", POSTINGS, EVERYTHING)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    with pytest.raises(ExportRefused, match="there already"):
        export(scan, path, "csv", POSTINGS, EVERYTHING)
    with pytest.raises(ExportRefused, match="no folder"):
        export(scan, tmp_path / "none" / "log.csv", "csv", POSTINGS, EVERYTHING)
    (tmp_path / ".new.csv.partial").write_text("left by a run that was killed")
    export(scan, tmp_path / "new.csv", "csv", POSTINGS, EVERYTHING)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["log.csv", "new.csv"]


def test_a_cell_that_a_spreadsheet_would_run_is_text(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    row = (1, 1, datetime(2026, 3, 1, tzinfo=UTC), "e", "u", "s", "d", 5, "=HYPERLINK(1)", "r")
    write_csv(path, POSTINGS, [row])

    (read,) = read_csv(path)
    assert read["what"] == "'=HYPERLINK(1)"
    assert read["time"] == utc_text(row[2]) == "2026-03-01T00:00:00.000000Z"


def test_every_format_that_is_offered_can_be_written(scan: LogScan, tmp_path: Path) -> None:
    for name in FORMATS:
        assert export(scan, tmp_path / f"log.{name}", name, POSTINGS, EVERYTHING) > 0


def test_a_database_without_a_ledger_is_called_that(database: DatabaseUrls) -> None:
    with (
        pytest.raises(NoLedger, match="no ledger"),
        open_scan(database.service, lambda: EVENT_MACS),
    ):
        pass


def test_postings_are_those_of_the_domain(stored: Stored) -> None:
    for position, event in stored.events:
        made = [(p.source, p.destination, p.amount_micro) for p in posted(position, event)]
        domain = postings(event)  # type: ignore[arg-type]
        assert made == [(p.source, p.destination, p.amount_micro) for p in domain]
