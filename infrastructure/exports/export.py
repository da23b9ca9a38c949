"""Writes the log, or a period of it, to one file."""

from pathlib import Path

from infrastructure.exports.beancount import write_beancount
from infrastructure.exports.formats import ExportRefused, write_csv, write_jsonl, write_parquet
from infrastructure.exports.tables import Selection, Table
from infrastructure.log.scan import LogScan
from infrastructure.process.files import new_private_file

_TABLE_WRITERS = {"jsonl": write_jsonl, "csv": write_csv, "parquet": write_parquet}


def export(scan: LogScan, path: Path, name: str, table: Table, selection: Selection) -> int:
    """Returns the number of rows or postings. Only the file's owner may read it, because it says
    who spent what.

    Raises ExportRefused, MapperDeserialisationError, OSError, psycopg.Error.
    """
    with new_private_file(path, ExportRefused) as partial:
        if name == "beancount":
            return write_beancount(partial, scan, selection)
        return _TABLE_WRITERS[name](partial, table, table.rows(scan, selection))
