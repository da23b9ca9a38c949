"""The backup file: a zip archive that any tool can open. One member for each table, in PostgreSQL's
binary COPY format, and `manifest.json`, written last, which says what must be in it."""

import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import IO

import msgspec

FORMAT = "chatledger-backup"
FORMAT_VERSION = 1
_MANIFEST = "manifest.json"
_CHUNK_BYTES = 1 << 20
_COMPRESSION_LEVEL = 3
Piece = bytes | bytearray | memoryview


class BackupRefused(Exception):
    """A backup cannot be made or used; the text says what to do."""


class TableEntry(msgspec.Struct, frozen=True, kw_only=True):
    """columns: in the order of the rows. bytes and sha256: of the member, uncompressed."""

    name: str
    columns: list[str]
    rows: int
    bytes: int
    sha256: str


class SequenceEntry(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    last_value: int
    is_called: bool


class MigrationEntry(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    name: str
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """position: of the log's last event. accounts: debit and credit of every class of account, in
    micro-credits. needs_sealing: the log is from before events carried MACs, and had none yet."""

    format: str = FORMAT
    format_version: int = FORMAT_VERSION
    made_at: datetime
    server_version: int
    migrations: list[MigrationEntry]
    tables: list[TableEntry]
    sequences: list[SequenceEntry]
    events: int
    position: int
    accounts: dict[str, tuple[int, int]]
    needs_sealing: bool = False


class ArchiveWriter:
    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file

    def add_table(
        self, name: str, columns: list[str], chunks: Iterable[Piece], rows: int
    ) -> TableEntry:
        hashed = sha256()
        count = 0
        # Larger than 4 GB is no error.
        with self._file.open(_member(name), "w", force_zip64=True) as member:
            for chunk in chunks:
                hashed.update(chunk)
                count += len(chunk)
                member.write(chunk)
        return TableEntry(
            name=name, columns=columns, rows=rows, bytes=count, sha256=hashed.hexdigest()
        )

    def finish(self, manifest: Manifest) -> None:
        body = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        self._file.writestr(_MANIFEST, body + b"\n")


@contextmanager
def new_archive(path: Path) -> Iterator[ArchiveWriter]:
    """The file has its name only when it is whole, and can be read by its owner alone.

    Raises BackupRefused, OSError.
    """
    if path.exists():
        raise BackupRefused(f"{path} is there already; choose another name")
    if not path.parent.is_dir():
        raise BackupRefused(f"there is no folder {path.parent}; make it, or choose another")
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    try:
        with zipfile.ZipFile(
            partial, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION_LEVEL
        ) as file:
            yield ArchiveWriter(file)
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


class ArchiveReader:
    """manifest: read, and found to be of this format."""

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self._path = path
        self._file = file
        try:
            self.manifest = msgspec.json.decode(file.read(_MANIFEST), type=Manifest)
        except (KeyError, msgspec.MsgspecError, zipfile.BadZipFile) as error:
            raise self._damaged("it has no manifest that can be read") from error
        if self.manifest.format != FORMAT:
            raise BackupRefused(f"{path} is no backup of chatledger")
        if self.manifest.format_version > FORMAT_VERSION:
            raise BackupRefused(f"{path} is of a newer version; install the newer chatledger")

    def check(self) -> None:
        """Every byte of every table against the manifest. Raises BackupRefused."""
        for table in self.manifest.tables:
            hashed = sha256()
            for chunk in self.chunks(table):
                hashed.update(chunk)
            if hashed.hexdigest() != table.sha256:
                raise self._damaged(f"{table.name} is not what was backed up")

    def chunks(self, table: TableEntry) -> Iterator[bytes]:
        try:
            with self._file.open(_member(table.name)) as member:
                yield from _pieces(member)
        except (KeyError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise self._damaged(f"{table.name} cannot be read") from error

    def _damaged(self, what: str) -> BackupRefused:
        return BackupRefused(f"{self._path} is damaged: {what}; use another backup")


@contextmanager
def open_archive(path: Path) -> Iterator[ArchiveReader]:
    """Raises BackupRefused, OSError."""
    if not path.is_file():
        raise BackupRefused(f"there is no file {path}")
    try:
        file = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise BackupRefused(f"{path} is no backup of chatledger, or is not whole") from error
    with file:
        yield ArchiveReader(path, file)


def _member(table: str) -> str:
    return f"tables/{table}.copy"


def _pieces(member: IO[bytes]) -> Iterator[bytes]:
    while piece := member.read(_CHUNK_BYTES):
        yield piece
