"""Writes the log, or a period of it, to one file."""

from pathlib import Path

from infrastructure.exports.beancount import write_beancount
from infrastructure.exports.formats import ExportRefused, write_csv, write_jsonl, write_parquet
from infrastructure.exports.tables import Selection, Table
from infrastructure.log.scan import LogScan

_TABLE_WRITERS = {"jsonl": write_jsonl, "csv": write_csv, "parquet": write_parquet}


def export(scan: LogScan, path: Path, name: str, table: Table, selection: Selection) -> int:
    """Returns the number of rows or postings. The file has its name only when it is whole, and
    belongs to its writer alone: it says who spent what.

    Raises ExportRefused, MapperDeserialisationError, OSError, psycopg.Error.
    """
    if path.exists():
        raise ExportRefused(f"{path} is there already; remove it, or choose another name")
    if not path.parent.is_dir():
        raise ExportRefused(f"there is no folder {path.parent}; make it, or choose another")
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    try:
        if name == "beancount":
            count = write_beancount(partial, scan, selection)
        else:
            count = _TABLE_WRITERS[name](partial, table, table.rows(scan, selection))
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return count
