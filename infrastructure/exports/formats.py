"""Writes tables as JSON lines, CSV or Parquet, with no more than a batch of rows in memory."""

import csv
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from infrastructure.exports.tables import Kind, Row, Table, json_text

_BATCH_ROWS = 5000
_ROW_GROUP_ROWS = 100_000
# The full-width characters begin a formula too in a spreadsheet with a Japanese locale.
_FORMULA_BEGINNINGS = (*"=+-@\t\r\n", *"\uff1d\uff0b\uff0d\uff20")


class ExportRefused(Exception):
    """An export cannot be made. The text says what to do."""


def write_jsonl(path: Path, table: Table, rows: Iterable[Row]) -> int:
    """One JSON object a line. Returns the number of rows."""
    count = 0
    with path.open("wb") as file:
        for row in rows:
            file.write(json_text(dict(zip(table.names, row, strict=True))))
            file.write(b"\n")
            count += 1
    return count


def write_csv(path: Path, table: Table, rows: Iterable[Row]) -> int:
    """RFC 4180 in UTF-8, with a header line. Returns the number of rows."""
    count = 0
    kinds = [kind for _, kind in table.columns]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table.names)
        for row in rows:
            writer.writerow(_csv_value(kind, value) for kind, value in zip(kinds, row, strict=True))
            count += 1
    return count


def _csv_value(kind: Kind, value: Any) -> Any:
    match kind:
        case Kind.TIME:
            return utc_text(value)
        case Kind.JSON:
            return json_text(value).decode()
        case Kind.TEXT:
            return spreadsheet_text(value)
        case Kind.NUMBER:
            return value


def spreadsheet_text(value: str) -> str:
    """The text, with an apostrophe before it if a spreadsheet would run it as a formula
    (https://owasp.org/www-community/attacks/CSV_Injection)."""
    return f"'{value}" if value.startswith(_FORMULA_BEGINNINGS) else value


def utc_text(time: datetime) -> str:
    """RFC 3339 in UTC, to the microsecond."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def write_parquet(path: Path, table: Table, rows: Iterable[Row]) -> int:
    """Returns the number of rows. Raises ExportRefused if the extra `parquet` is not installed."""
    try:
        from arro3.core import Array, DataType, Field, RecordBatch, RecordBatchReader, Schema
        from arro3.io import write_parquet as write
    except ModuleNotFoundError:
        raise ExportRefused(
            "writing Parquet needs the packages arro3-core and arro3-io, which are not installed:"
            " install chatledger with its extra `parquet`, or choose another format"
        ) from None
    types: dict[Kind, DataType] = {
        Kind.NUMBER: DataType.int64(),
        Kind.TIME: DataType.timestamp("us", tz="UTC"),
        Kind.TEXT: DataType.utf8(),
        Kind.JSON: DataType.utf8(),
    }
    fields = [Field(name, types[kind], nullable=False) for name, kind in table.columns]
    schema = Schema(fields)
    count = 0

    def batches() -> Iterator[RecordBatch]:
        nonlocal count
        waiting = iter(rows)
        while batch := list(islice(waiting, _BATCH_ROWS)):
            count += len(batch)
            columns = zip(*batch, strict=True)
            arrays = [
                Array(
                    [_parquet_value(kind, value) for value in column], type=DataType.int64()
                ).cast(types[kind])
                if kind is Kind.TIME
                else Array([_parquet_value(kind, value) for value in column], type=types[kind])
                for (_, kind), column in zip(table.columns, columns, strict=True)
            ]
            yield RecordBatch.from_arrays(arrays, schema=schema)

    write(
        RecordBatchReader.from_batches(schema, batches()),
        path,
        compression="zstd(3)",
        max_row_group_size=_ROW_GROUP_ROWS,
    )
    return count


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _parquet_value(kind: Kind, value: Any) -> Any:
    match kind:
        case Kind.TIME:
            since = value - _EPOCH
            return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
        case Kind.JSON:
            return json_text(value).decode()
        case Kind.TEXT | Kind.NUMBER:
            return value
