"""What a backup holds comes back as it was, or not at all."""

import json
import stat
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from infrastructure.backup.archive import BackupRefused, open_archive
from infrastructure.backup.dump import backup, tables_of
from infrastructure.backup.restore import restore
from infrastructure.embedded.servers import EmbeddedServers
from infrastructure.postgres.migrate import migrate
from infrastructure.postgres.rebuild import rebuild
from tests.projections.log import Log, comparable, open_log, stored_rows
from tests.projections.random_history import RandomHistory
from tests.support.servers import DatabaseUrls, drop_database, fresh_database, fresh_name

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
Contents = dict[str, list[tuple[Any, ...]]]


def watch(_fraction: float) -> None:
    """Nobody watches the progress of a test."""


def say(_step: str) -> None:
    """Nor its steps."""


@pytest.fixture(scope="module")
def log(embedded_servers: EmbeddedServers) -> Iterator[tuple[DatabaseUrls, Log]]:
    name = fresh_name("backup")
    urls = fresh_database(embedded_servers, name)
    with open_log(urls) as opened:
        opened.append(RandomHistory(61).commits(200))
        yield urls, opened
    drop_database(embedded_servers, name)


@pytest.fixture(scope="module")
def made(log: tuple[DatabaseUrls, Log], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("backup") / "ledger.backup"
    backup(log[0].owner, path, NOW, watch)
    return path


def contents(owner_url: str) -> Contents:
    """Every row of the ledger, and how its sequences and triggers stand."""
    with psycopg.connect(owner_url) as connection:
        found = {
            name: connection.execute(
                sql.SQL("SELECT * FROM {} ORDER BY 1, 2").format(sql.Identifier("ledger", name))
            ).fetchall()
            for name in tables_of(connection)
        }
        found["sequences"] = connection.execute(
            "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'ledger'"
            " ORDER BY 1"
        ).fetchall()
        found["triggers"] = connection.execute(
            "SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger"
            " WHERE NOT tgisinternal ORDER BY 1, 2"
        ).fetchall()
        return found


async def test_a_restored_ledger_is_the_one_that_was_backed_up(
    log: tuple[DatabaseUrls, Log], made: Path, database: DatabaseUrls
) -> None:
    urls, source = log

    manifest = restore(database.owner, database.service, made, say)
    await rebuild([], database.service, watch)

    assert contents(database.owner) == contents(urls.owner)
    assert (manifest.events, manifest.position) == (len(source.events), source.head)
    assert manifest.made_at == NOW
    assert comparable(stored_rows(database.service)) == comparable(source.naive_rows())


async def test_a_restored_ledger_goes_on_where_it_was(
    log: tuple[DatabaseUrls, Log], made: Path, database: DatabaseUrls
) -> None:
    _, source = log
    restore(database.owner, database.service, made, say)

    with open_log(database) as again:
        again.append(RandomHistory(62).commits(20))
        assert again.events[0][0] > source.head
        again.events = [*source.events, *again.events]
        await rebuild([], database.service, watch)
        assert comparable(stored_rows(database.service)) == comparable(again.naive_rows())
    with (
        psycopg.connect(database.owner) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"),
    ):
        connection.execute("DELETE FROM ledger.ledger_events")


def test_a_backup_is_one_moment_of_a_log_that_goes_on(
    embedded_servers: EmbeddedServers, tmp_path: Path, database: DatabaseUrls
) -> None:
    name = fresh_name("moving")
    urls = fresh_database(embedded_servers, name)
    history = RandomHistory(63)
    with open_log(urls) as moving:
        moving.append(history.commits(100))
        before = moving.head

        def write_more(_fraction: float) -> None:
            moving.append(history.commits(2))

        manifest = backup(urls.owner, tmp_path / "moving.backup", NOW, write_more)
        assert moving.head > before, "something was written meanwhile"
    drop_database(embedded_servers, name)

    assert manifest.position == before
    assert restore(database.owner, database.service, tmp_path / "moving.backup", say) == manifest


def test_a_database_with_a_ledger_in_it_is_left_as_it_is(
    log: tuple[DatabaseUrls, Log], made: Path
) -> None:
    before = contents(log[0].owner)
    with pytest.raises(BackupRefused, match="into an empty database"):
        restore(log[0].owner, log[0].service, made, say)
    assert contents(log[0].owner) == before


def test_an_empty_ledger_of_the_same_version_is_empty(made: Path, database: DatabaseUrls) -> None:
    migrate(database.owner, database.service)
    assert restore(database.owner, database.service, made, say).events > 0


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

    with pytest.raises(BackupRefused, match="is no backup of chatledger, or is not whole"):
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


def test_a_file_is_whole_or_not_there_and_belongs_to_its_writer(
    log: tuple[DatabaseUrls, Log], made: Path, tmp_path: Path, database: DatabaseUrls
) -> None:
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert [each.name for each in made.parent.iterdir()] == [made.name]
    with pytest.raises(BackupRefused, match="there already"):
        backup(log[0].owner, made, NOW, watch)
    with pytest.raises(BackupRefused, match="no folder"):
        backup(log[0].owner, tmp_path / "none" / "a.backup", NOW, watch)
    with pytest.raises(BackupRefused, match="nothing to back up"):
        backup(database.owner, tmp_path / "a.backup", NOW, watch)
    with pytest.raises(BackupRefused, match="there is no file"):
        restore(database.owner, database.service, tmp_path / "a.backup", say)
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_can_be_read_without_chatledger(made: Path, log: tuple[Any, Log]) -> None:
    with zipfile.ZipFile(made) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest["events"] == len(log[1].events)
    with open_archive(made) as opened:
        opened.check()
