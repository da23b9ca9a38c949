"""The operator's part in what authenticates the ledger: its keys, and a log from before."""

import json
from pathlib import Path

import psycopg
import pytest
from eventsourcing.persistence import StoredEvent

from infrastructure.backup.archive import open_archive
from infrastructure.embedded.servers import EmbeddedServers
from tests.history.old_logs import load_log, read_log
from tests.interfaces.cli.command import Finished, chatledger
from tests.support.forging import Forger
from tests.support.servers import DatabaseUrls, drop_database, fresh_database, fresh_name


class Operator:
    def __init__(self, urls: DatabaseUrls, nats_url: str, stream: str, folder: Path) -> None:
        self._urls = urls
        self._nats_url = nats_url
        self._stream = stream
        self._folder = folder
        self.keys = folder / "kept" / "keys.json"

    def at(self, urls: DatabaseUrls) -> "Operator":
        """The same installation with another database."""
        return Operator(urls, self._nats_url, self._stream, self._folder)

    def run(self, *arguments: str, stdin: str = "") -> Finished:
        return chatledger(
            *arguments,
            folder=self._folder,
            stdin=stdin,
            DATABASE_URL=self._urls.service,
            MIGRATION_DATABASE_URL=self._urls.owner,
            NATS_URL=self._nats_url,
            NATS_STREAM=self._stream,
            LEDGER_KEYS=str(self.keys),
        )

    def make_admin(self, name: str) -> Finished:
        return self.run(
            "users", "create-admin", name, f"{name}@example.com", stdin="a fine password\n"
        )

    def key_ids(self) -> list[str]:
        return list(json.loads(self.keys.read_text())["keys"])


@pytest.fixture
def operator(
    database: DatabaseUrls, embedded_servers: EmbeddedServers, stream_prefix: str, tmp_path: Path
) -> Operator:
    return Operator(database, embedded_servers.nats_url, stream_prefix, tmp_path)


def test_an_old_log_is_sealed_once_before_the_service_starts(
    operator: Operator, database: DatabaseUrls
) -> None:
    lines = read_log("v1")
    load_log(database, lines, brought_up_to_date=False)

    for arguments in (
        ("start", "--mode", "api", "--skip-init", "--port", "0"),
        ("projections", "rebuild", "all"),
        ("audit", "trial-balance"),
        ("audit", "verify"),
    ):
        refused = operator.run(*arguments)
        assert refused.status in (1, 2), refused.output
        assert "run `chatledger audit seal` once" in refused.errors.splitlines()[-1]
    assert not operator.keys.exists()

    done = operator.run("audit", "seal")
    assert done.status == 0, done.errors
    assert f"{len(lines)} events up to position {lines[-1].position} are sealed" in done.output
    again = operator.run("audit", "seal")
    assert (again.status, again.output.splitlines()[-1]) == (
        0,
        "every event carries its MAC, or was sealed before; there is nothing to do",
    )
    books = operator.run("audit", "trial-balance")
    assert books.status == 0, books.errors
    assert operator.run("projections", "rebuild", "all").status == 0


def test_an_old_log_stays_as_it_is_while_an_earlier_version_may_write_to_it(
    operator: Operator, database: DatabaseUrls
) -> None:
    """What that adds once the schema knows MACs would never be accepted."""
    load_log(database, read_log("v1"), brought_up_to_date=False)
    with psycopg.connect(database.service, application_name="an earlier version") as connection:
        for arguments in (("audit", "seal"), ("users", "set-password", "ada")):
            refused = operator.run(*arguments, stdin="a fine password\n")
            assert refused.status == 1, refused.output
            assert "stop every process" in refused.errors.splitlines()[-1]
        known = connection.execute("SELECT to_regclass('ledger.before_macs')").fetchone()
        assert known == (None,)

    assert operator.run("audit", "seal").status == 0


def test_a_backup_of_an_old_log_can_be_restored_and_sealed_there(
    operator: Operator, database: DatabaseUrls, embedded_servers: EmbeddedServers, tmp_path: Path
) -> None:
    """Which is what a careful operator makes when the start asks for sealing."""
    load_log(database, read_log("v1"))
    path = str(tmp_path / "before.backup")
    assert operator.run("audit", "trial-balance").status == 1
    assert operator.run("backup", path).status == 0
    name = fresh_name("restored")
    other = operator.at(fresh_database(embedded_servers, name))
    try:
        restored = other.run("restore", path)
        sealed = other.run("audit", "seal")
        rebuilt = other.run("projections", "rebuild", "all")
        sealed_too = str(tmp_path / "after.backup")
        backed_up = other.run("backup", sealed_too)
    finally:
        drop_database(embedded_servers, name)

    assert restored.status == 0, restored.errors
    assert "run `chatledger audit seal`" in restored.output
    assert "are sealed" in sealed.output, sealed.errors
    assert rebuilt.status == 0, rebuilt.errors
    assert backed_up.status == 0, backed_up.errors
    with open_archive(Path(sealed_too)) as archive:
        assert not archive.manifest.needs_sealing


def test_a_log_that_is_not_whole_is_not_sealed(operator: Operator, database: DatabaseUrls) -> None:
    lines = read_log("v1")
    load_log(database, lines)
    position = lines[40].position
    with psycopg.connect(database.owner) as connection:
        connection.execute("ALTER TABLE ledger.ledger_events DISABLE TRIGGER USER")
        connection.execute(
            "UPDATE ledger.ledger_events SET originator_version = 99 WHERE notification_id = %s",
            (position,),
        )
        connection.execute("ALTER TABLE ledger.ledger_events ENABLE TRIGGER USER")

    refused = operator.run("audit", "seal")

    assert refused.status == 1
    assert f"the event at position {position} was changed" in refused.output
    assert "nothing was sealed" in refused.errors
    assert "run `chatledger audit seal` once" in operator.run("audit", "trial-balance").errors


def test_a_log_that_is_said_to_be_old_is_not_sealed_where_keys_are_already(
    operator: Operator, database: DatabaseUrls
) -> None:
    """Otherwise the owner of the database could have anything sealed."""
    assert operator.make_admin("ada").status == 0
    with psycopg.connect(database.owner) as connection:
        connection.execute("ALTER TABLE ledger.before_macs DISABLE TRIGGER USER")
        connection.execute("UPDATE ledger.before_macs SET position = 6")
        connection.execute("ALTER TABLE ledger.before_macs ENABLE TRIGGER USER")

    refusal = operator.run("audit", "seal").refusal()

    assert f"{operator.keys} is there already" in refusal


def test_keys_are_made_with_an_empty_ledger_and_never_for_one_that_has_events(
    operator: Operator,
) -> None:
    assert operator.make_admin("ada").status == 0
    kept = operator.keys.rename(operator.keys.with_name("elsewhere.json"))

    for refusal in (
        operator.make_admin("bob").refusal(),
        operator.run("start", "--mode", "api", "--skip-init", "--port", "0").errors,
    ):
        assert f"{operator.keys} is missing" in refusal
    assert not operator.keys.exists()

    kept.rename(operator.keys)
    assert operator.make_admin("bob").status == 0
    other = Operator.__new__(Operator)
    other.__dict__ = operator.__dict__ | {"keys": operator.keys.with_name("other.json")}
    other.keys.write_text(json.dumps({"current": "x", "keys": {"x": "A" * 43 + "="}}))
    assert "is not that of this log" in other.make_admin("eve").refusal()


def test_books_and_backups_leave_out_what_the_ledger_did_not_write(
    operator: Operator, database: DatabaseUrls, tmp_path: Path
) -> None:
    assert operator.make_admin("ada").status == 0
    with psycopg.connect(database.service) as connection:
        (granted,) = connection.execute(
            "SELECT originator_id, originator_version, topic, state FROM ledger.ledger_events"
            " WHERE topic = 'account.credits_granted'"
        ).fetchall()
    before = operator.run("audit", "trial-balance").output
    stream_id, version, topic, state = granted
    position = Forger(database).insert(StoredEvent(stream_id, version + 1, topic, state))

    books = operator.run("audit", "trial-balance")
    balance = operator.run("audit", "balance", "ada")
    exported = operator.run(
        "audit", "export", "--format", "csv", "--out", str(tmp_path / "events.csv")
    )
    backed_up = operator.run("backup", str(tmp_path / "ledger.backup"))

    assert (books.status, books.output) == (0, before)
    assert "100.000000" in balance.output
    assert len((tmp_path / "events.csv").read_text().splitlines()) == 1 + 6
    for finished in (books, balance, exported):
        assert "1 events that this ledger did not write are left out" in finished.errors
        assert f"position {position} " in finished.errors
    assert backed_up.status == 0, backed_up.errors


def test_after_a_rotation_old_and_new_events_are_believed(operator: Operator) -> None:
    assert operator.make_admin("ada").status == 0
    (old,) = operator.key_ids()

    rotated = operator.run("keys", "rotate")

    assert rotated.status == 0, rotated.errors
    assert operator.key_ids()[0] == old
    new = operator.key_ids()[1]
    assert f"the new key {new}" in rotated.output
    assert operator.run("keys", "list").output.splitlines() == [old, f"{new}  current"]
    changed = operator.run("users", "set-password", "ada", stdin="another password\n")
    assert changed.status == 0, changed.errors
    assert operator.run("audit", "balance", "ada").status == 0
