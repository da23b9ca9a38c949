"""`chatledger audit verify` as an auditor runs it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from infrastructure.embedded.servers import EmbeddedServers
from tests.infrastructure.proofs.checkpoints.signing import Signing
from tests.infrastructure.proofs.verify.books import Books
from tests.interfaces.cli.command import Finished, chatledger
from tests.projections.log import open_log
from tests.support.keys import key_file
from tests.support.servers import DatabaseUrls


@pytest.fixture
async def books(
    database: DatabaseUrls, embedded_servers: EmbeddedServers, stream_prefix: str, tmp_path: Path
) -> AsyncIterator[Books]:
    with open_log(database) as log:
        signing = Signing(database, embedded_servers.nats_url, stream_prefix, tmp_path)
        books = Books(database, embedded_servers, log, signing)
        await books.grow(81, 60)
        yield books
        await signing.stop_all()


def audit(books: Books, nats_url: str, *arguments: str, **settings: str) -> Finished:
    return chatledger(
        *("audit", *arguments),
        folder=books.signing.key_file.parent,
        **{
            "DATABASE_URL": books.urls.service,
            "MIGRATION_DATABASE_URL": books.urls.owner,
            "NATS_URL": nats_url,
            "CHECKPOINT_DIR": str(books.signing.settings.folder),
            "CHECKPOINT_KEY": str(books.signing.key_file),
            "LEDGER_KEYS": key_file(books.signing.key_file.with_name("ledger_keys.json")),
            **settings,
        },
    )


async def test_the_exit_status_and_the_report_say_whether_everything_agrees(
    books: Books, nats_url: str, tmp_path: Path
) -> None:
    public = tmp_path / "public.pem"
    public.write_text(audit(books, nats_url, "public-key").output)
    agreed = audit(books, nats_url, "verify", "--public-key", str(public))
    assert (agreed.status, agreed.errors.strip()) == (0, ""), agreed.errors
    assert agreed.output.splitlines()[-1] == "Everything agrees."

    position = books.log.events[30][0]
    books.tamper(f"DELETE FROM ledger.ledger_events WHERE notification_id = {position}")
    told = audit(books, nats_url, "verify")
    as_json = audit(books, nats_url, "verify", "--json")

    first = f"the event at position {position} was removed"
    assert (told.status, as_json.status) == (1, 1)
    assert told.output.splitlines()[-1] == f"The first that differs: {first}."
    report = json.loads(as_json.output)
    assert report["agrees"] is False
    assert report["first"] == {"where": "log", "text": first, "position": position, "row": None}
    assert {part["name"] for part in report["parts"]} > {"log", "checkpoints", "accounts"}


async def test_what_keeps_it_from_running_is_said_with_a_status_of_its_own(
    books: Books, nats_url: str, tmp_path: Path
) -> None:
    for settings, reason in (
        ({"CHECKPOINT_KEY": str(tmp_path / "none.pem")}, "give --public-key"),
        ({"LEDGER_KEYS": str(tmp_path / "none.json")}, "none.json is missing"),
        ({"DATABASE_URL": "postgresql://127.0.0.1:1/x", "DATABASE_TIMEOUT_S": "1"}, "DATABASE_URL"),
    ):
        finished = audit(books, nats_url, "verify", **settings)
        assert finished.status == 2
        assert reason in finished.errors
    assert not (tmp_path / "none.pem").exists()
    assert not (tmp_path / "none.json").exists()
