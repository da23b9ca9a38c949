"""A backup that is not what it says is refused, and leaves no event behind."""

import json
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest

from infrastructure.backup.archive import BackupRefused
from infrastructure.backup.restore import restore
from tests.infrastructure.backup.conftest import say
from tests.support.servers import DatabaseUrls


def changed_copy(made: Path, path: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """The same archive with other contents; its own checksums are right."""
    with zipfile.ZipFile(made) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            target.writestr(name, change(name, source.read(name)))
    return path


def events_changed(name: str, body: bytes) -> bytes:
    if "ledger_events" not in name:
        return body
    assert b'"amount_micro":' in body
    return body.replace(b'"amount_micro":', b'"amount_micrO":', 1)


def fewer_rows(name: str, body: bytes) -> bytes:
    if name != "manifest.json":
        return body
    manifest = json.loads(body)
    table = next(each for each in manifest["tables"] if each["name"] == "ledger_events")
    table["rows"] -= 1
    return json.dumps(manifest).encode()


def other_accounts(name: str, body: bytes) -> bytes:
    if name != "manifest.json":
        return body
    manifest = json.loads(body)
    manifest["accounts"]["revenue:usage"][1] += 1
    return json.dumps(manifest).encode()


def other_migration(name: str, body: bytes) -> bytes:
    if name != "manifest.json":
        return body
    manifest = json.loads(body)
    manifest["migrations"][0]["sha256"] = "00" * 32
    return json.dumps(manifest).encode()


def newer_schema(name: str, body: bytes) -> bytes:
    if name != "manifest.json":
        return body
    manifest = json.loads(body)
    manifest["migrations"].append({"version": 99, "name": "0099_later.sql", "sha256": "00"})
    return json.dumps(manifest).encode()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (events_changed, "ledger_events is not what was backed up"),
        (fewer_rows, "rows, and"),
        (other_accounts, "accounts do not hold"),
        (other_migration, "another 0001_event_store.sql"),
        (newer_schema, "install the newer version"),
    ],
)
def test_a_backup_that_is_not_what_it_says_leaves_no_event_behind(
    made: Path,
    tmp_path: Path,
    database: DatabaseUrls,
    change: Callable[[str, bytes], bytes],
    words: str,
) -> None:
    path = changed_copy(made, tmp_path / "changed.backup", change)

    with pytest.raises(BackupRefused, match=words):
        restore(database.owner, database.service, path, say)

    with psycopg.connect(database.owner) as connection:
        there = connection.execute("SELECT to_regclass('ledger.ledger_events')").fetchone()
        if there != (None,):
            rows = connection.execute("SELECT * FROM ledger.ledger_events").fetchall()
            assert rows == []


def test_what_a_check_finds_keeps_the_log_from_being_committed(
    made: Path, database: DatabaseUrls
) -> None:
    def refuse(connection: psycopg.Connection[Any]) -> None:
        row = connection.execute("SELECT count(*) FROM ledger.ledger_events").fetchone()
        assert row is not None
        assert row[0] > 0, "it sees what was loaded"
        raise BackupRefused("the chain is broken")

    with pytest.raises(BackupRefused, match="chain is broken"):
        restore(database.owner, database.service, made, say, check=refuse)
    with psycopg.connect(database.owner) as connection:
        assert connection.execute("SELECT * FROM ledger.ledger_events").fetchall() == []
    assert restore(database.owner, database.service, made, say).events > 0


def test_a_link_that_was_forged_with_its_file_keeps_the_log_from_being_committed(
    made: Path, tmp_path: Path, database: DatabaseUrls
) -> None:
    with zipfile.ZipFile(made) as archive:
        links = bytearray(archive.read("tables/links.copy"))
    # The last byte of the last column, before the two of the trailer.
    links[-3] ^= 1
    forged = sha256(links).hexdigest()

    def forge(name: str, body: bytes) -> bytes:
        if name == "tables/links.copy":
            return bytes(links)
        if name != "manifest.json":
            return body
        manifest = json.loads(body)
        table = next(each for each in manifest["tables"] if each["name"] == "links")
        table["sha256"] = forged
        return json.dumps(manifest).encode()

    path = changed_copy(made, tmp_path / "forged.backup", forge)

    with pytest.raises(BackupRefused, match="chain is broken at the link of position"):
        restore(database.owner, database.service, path, say)
    with psycopg.connect(database.owner) as connection:
        assert connection.execute("SELECT * FROM ledger.ledger_events").fetchall() == []


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_file_that_was_cut_off_is_refused(
    made: Path, tmp_path: Path, database: DatabaseUrls, share: float
) -> None:
    body = made.read_bytes()
    path = tmp_path / "cut.backup"
    path.write_bytes(body[: int(len(body) * share)])

    with pytest.raises(BackupRefused, match="is no backup of chatledger, or not a whole one"):
        restore(database.owner, database.service, path, say)


def test_a_flipped_bit_is_noticed(made: Path, tmp_path: Path, database: DatabaseUrls) -> None:
    body = bytearray(made.read_bytes())
    with zipfile.ZipFile(made) as archive:
        place = archive.getinfo("tables/ledger_events.copy")
    body[place.header_offset + 200 + place.compress_size // 2] ^= 0x10
    path = tmp_path / "flipped.backup"
    path.write_bytes(body)

    with pytest.raises(BackupRefused, match=r"damaged: ledger_events cannot be read|is not what"):
        restore(database.owner, database.service, path, say)
