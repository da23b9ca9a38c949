"""The backup file: a zip archive that any tool can open. It has a member for each table, in
PostgreSQL's binary COPY format, and `manifest.json`, which is written last and says what the others
must hold."""

import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import IO

import msgspec

from infrastructure.process.files import new_private_file

FORMAT = "chatledger-backup"
FORMAT_VERSION = 1
_MANIFEST = "manifest.json"
_CHUNK_BYTES = 1 << 20
_COMPRESSION_LEVEL = 3
Piece = bytes | bytearray | memoryview


class BackupRefused(Exception):
    """A backup cannot be made or restored. The text says what to do."""


class TableEntry(msgspec.Struct, frozen=True, kw_only=True):
    """columns: in the order of the rows' fields. bytes, sha256: of the member, uncompressed."""

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
    """position: of the log's last event. accounts: debits and credits of every class of account, in
    micro-credits. needs_sealing: the log is older than MACs, and its events have none yet."""

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
        # A member may be larger than 4 GB.
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
    """See `new_private_file`. Raises BackupRefused, OSError."""
    with (
        new_private_file(path, BackupRefused) as partial,
        zipfile.ZipFile(
            partial, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION_LEVEL
        ) as file,
    ):
        yield ArchiveWriter(file)


class ArchiveReader:
    """Raises BackupRefused if the file has no manifest, or one of another format."""

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self._path = path
        self._file = file
        try:
            self.manifest = msgspec.json.decode(file.read(_MANIFEST), type=Manifest)
        except (KeyError, msgspec.MsgspecError, zipfile.BadZipFile) as error:
            raise self._damaged("its manifest is missing or cannot be read") from error
        if self.manifest.format != FORMAT:
            raise BackupRefused(f"{path} is no backup of chatledger; choose another file")
        if self.manifest.format_version > FORMAT_VERSION:
            raise BackupRefused(f"{path} was made by a newer version; install the newer chatledger")

    def check(self) -> None:
        """Compare every byte of every table with the manifest. Raises BackupRefused."""
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
        raise BackupRefused(f"there is no file {path}; name a backup that exists")
    try:
        file = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise BackupRefused(
            f"{path} is no backup of chatledger, or not a whole one; choose another file"
        ) from error
    with file:
        yield ArchiveReader(path, file)


def _member(table: str) -> str:
    return f"tables/{table}.copy"


def _pieces(member: IO[bytes]) -> Iterator[bytes]:
    while piece := member.read(_CHUNK_BYTES):
        yield piece
