"""A restore brings back the ledger as it was, or nothing."""

import json
import stat
import zipfile
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from infrastructure.backup.archive import BackupRefused, open_archive
from infrastructure.backup.dump import backup, tables_of
from infrastructure.backup.restore import restore
from infrastructure.database.migrate import migrate
from infrastructure.embedded.servers import EmbeddedServers
from infrastructure.read_models.rebuild.rebuild import rebuild
from tests.infrastructure.backup.conftest import NOW, say, watch
from tests.projections.log import Log, comparable, open_log, stored_rows
from tests.projections.random_history import RandomHistory
from tests.support.keys import EVENT_MACS
from tests.support.servers import DatabaseUrls, drop_database, fresh_database, fresh_name

Contents = dict[str, list[tuple[Any, ...]]]


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
    await rebuild([], database.service, watch, macs=EVENT_MACS)

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
        await rebuild([], database.service, watch, macs=EVENT_MACS)
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
