"""Checkpoints on a real database and a real NATS."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from domain.proofs.checkpoints import NO_PREVIOUS, Checkpoint
from domain.proofs.leaves import CHAIN_START, next_hash
from domain.proofs.merkle import Frontier, root_of_path
from infrastructure.embedded.servers import EmbeddedServers
from infrastructure.process.condition import State
from infrastructure.proofs.checkpoints.records import BadRecord, SignedCheckpoint
from infrastructure.proofs.checkpoints.signed_log import query_on
from infrastructure.proofs.checkpoints.signing_key import KeyUnusable, PublicKey, SigningKey
from infrastructure.proofs.checkpoints.tree_store import read_path
from tests.infrastructure.event_store.test_chain import links
from tests.infrastructure.proofs.checkpoints.signing import Signing
from tests.infrastructure.relay.running import eventually
from tests.projections.log import Log
from tests.projections.random_history import RandomHistory
from tests.support.servers import with_database


def expected_at(url: str, position: int) -> tuple[int, bytes, bytes]:
    """Events, chain and root up to the position, computed from the links alone."""
    tree, chain = Frontier(), CHAIN_START
    for link in links(url):
        if link.position > position:
            break
        chain = next_hash(chain, link.entries)
        for leaf in link.leaves():
            tree.add(leaf, lambda _: None, from_level=1)
    return tree.size, chain, tree.root()


def assert_right(signing: Signing, records: list[SignedCheckpoint]) -> None:
    previous = NO_PREVIOUS
    for record in records:
        signed = record.checkpoint
        assert record.is_signed_by(signing.key.public)
        assert signed.log == signing.log_id
        assert signed.previous == previous
        assert (signed.events, signed.chain, signed.root) == expected_at(
            signing.urls.service, signed.position
        )
        previous = signed.hash


async def test_checkpoints_say_what_the_log_holds_in_file_database_and_nats(
    signing: Signing, event_log: Log
) -> None:
    history = RandomHistory(51)
    await signing.start()
    for _ in range(3):
        await signing.assert_signed_up_to(event_log.append(history.commits(60)))

    records = signing.in_file()
    assert records[-1].checkpoint.events > 256, "nodes were stored"
    assert_right(signing, records)
    assert signing.in_database() == records
    await signing.assert_published()


async def test_a_quiet_log_is_not_signed_again(signing: Signing, event_log: Log) -> None:
    service = await signing.start()
    await eventually(lambda: service.signer.state is State.WORKING, "the start")
    head = event_log.append(RandomHistory(52).commits(2))
    await signing.assert_signed_up_to(head)
    await signing.stop_all()
    before = signing.in_file()
    service = await signing.start()
    await eventually(lambda: service.publisher.state is State.WORKING, "the start")
    assert signing.in_file() == before


async def test_many_events_are_signed_before_their_time(signing: Signing, event_log: Log) -> None:
    history = RandomHistory(53)
    seldom = replace(signing.settings, events_max=20, interval_s=3600, links_max=1)
    event_log.append(history.commits(2))
    await signing.start(seldom)
    await eventually(lambda: len(signing.file_so_far()) == 1, "the first, which is due at once")
    event_log.append(history.commits(60))
    await eventually(lambda: len(signing.file_so_far()) > 3, "more of them")

    records = signing.in_file()
    assert_right(signing, records)
    sizes = [record.checkpoint.events for record in records]
    assert all(20 <= after - before < 40 for before, after in itertools.pairwise(sizes))


async def test_a_new_leader_goes_on_where_the_old_one_stopped(
    signing: Signing, event_log: Log
) -> None:
    history = RandomHistory(54)
    for _ in range(4):
        await signing.start()
        await signing.assert_signed_up_to(event_log.append(history.commits(40)))
        await signing.stop_all()

    assert_right(signing, signing.in_file())


async def test_two_processes_sign_each_position_once(signing: Signing, event_log: Log) -> None:
    history = RandomHistory(55)
    services = [await signing.start() for _ in range(2)]
    for _ in range(5):
        await signing.assert_signed_up_to(event_log.append(history.commits(5)))

    states = sorted(service.signer.state for service in services)
    assert states == [State.STANDBY, State.WORKING]
    assert_right(signing, signing.in_file())
    assert len({record.checkpoint.position for record in signing.in_file()}) == len(
        signing.in_file()
    )


async def test_a_line_that_a_crash_left_half_written_is_passed_over(
    signing: Signing, event_log: Log
) -> None:
    history = RandomHistory(56)
    await signing.start()
    await signing.assert_signed_up_to(event_log.append(history.commits(3)))
    await signing.stop_all()
    whole = signing.file.path.read_bytes()
    signing.file.path.write_bytes(whole[:-100])

    await signing.start()
    await signing.assert_signed_up_to(event_log.append(history.commits(3)))

    found = list(signing.file)
    assert sum(isinstance(line, str) for line in found) == 1
    records = [line for line in found if isinstance(line, SignedCheckpoint)]
    assert_right(signing, records)
    assert records == signing.in_database()


async def test_a_file_that_cannot_be_written_gets_everything_later(
    signing: Signing, event_log: Log
) -> None:
    signing.settings.folder.parent.mkdir(exist_ok=True)
    signing.settings.folder.write_text("in the way")
    service = await signing.start()
    event_log.append(RandomHistory(57).commits(3))
    await eventually(lambda: service.signer.state is State.AWAY, "the failure")
    assert "NotADirectory" in (service.signer.last_error or "")
    signing.settings.folder.unlink()

    await signing.assert_signed_up_to(event_log.head)
    assert_right(signing, signing.in_file())


async def test_a_log_whose_end_was_removed_is_not_signed_again(
    signing: Signing, event_log: Log, embedded_servers: EmbeddedServers
) -> None:
    history = RandomHistory(58)
    await signing.start()
    await signing.assert_signed_up_to(event_log.append(history.commits(10)))
    await signing.stop_all()
    before = signing.in_file()
    with superuser(signing, embedded_servers) as connection:
        for table in ("ledger_events", "links", "checkpoints"):
            name = sql.Identifier("ledger", table)
            connection.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(name))
        connection.execute("DELETE FROM ledger.ledger_events WHERE notification_id > 5")
        connection.execute("DELETE FROM ledger.links WHERE position > 5")
        connection.execute("DELETE FROM ledger.checkpoints")

    service = await signing.start()
    await eventually(lambda: service.signer.state is State.AWAY, "the refusal")
    assert "its end was removed" in (service.signer.last_error or "")
    assert signing.in_file() == before


async def test_a_changed_link_is_never_signed(
    signing: Signing, event_log: Log, embedded_servers: EmbeddedServers
) -> None:
    event_log.append(RandomHistory(59).commits(4))
    with superuser(signing, embedded_servers) as connection:
        connection.execute("ALTER TABLE ledger.links DISABLE TRIGGER USER")
        connection.execute(
            "UPDATE ledger.links SET entries = set_byte(entries, 20, get_byte(entries, 20) # 1)"
            " WHERE position = (SELECT min(position) FROM ledger.links)"
        )

    service = await signing.start()
    await eventually(lambda: service.signer.state is State.AWAY, "the refusal")
    assert "the chain breaks between positions 0 and" in (service.signer.last_error or "")
    assert signing.in_file() == []


async def test_every_events_inclusion_is_proved_from_few_rows(
    signing: Signing, event_log: Log
) -> None:
    await signing.start()
    await signing.assert_signed_up_to(event_log.append(RandomHistory(61).commits(300)))
    signed = signing.in_file()[-1].checkpoint
    leaves = [leaf for link in links(signing.urls.service) for leaf in link.leaves()]
    assert signed.events == len(leaves) > 512
    async with await psycopg.AsyncConnection.connect(signing.urls.service) as connection:
        rows = query_on(connection)
        for index in {*range(0, signed.events, 41), 0, 255, 256, 511, 512, signed.events - 1}:
            path = await read_path(rows, index, signed.events)
            assert root_of_path(leaves[index], index, signed.events, path) == signed.root


def superuser(signing: Signing, servers: EmbeddedServers) -> psycopg.Connection:
    with psycopg.connect(signing.urls.service) as connection:
        name = connection.info.dbname
    return psycopg.connect(with_database(servers.superuser_url, name), autocommit=True)


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key.pem"
    made = SigningKey.from_file(path)
    assert SigningKey.from_file(path).public == made.public
    assert path.stat().st_mode & 0o777 == 0o600
    public = tmp_path / "public.pem"
    public.write_text(made.public.pem)
    assert PublicKey.load(public) == made.public
    assert made.public.has_signed(b"text", made.sign(b"text"))
    assert not made.public.has_signed(b"other", made.sign(b"text"))


def test_a_file_that_holds_no_key_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("nothing")
    with pytest.raises(KeyUnusable, match="holds no private key in PEM; restore it"):
        SigningKey.from_file(path)
    with pytest.raises(KeyUnusable, match="holds no public key in PEM"):
        PublicKey.load(path)
    with pytest.raises(KeyUnusable, match="cannot be read: No such file"):
        PublicKey.load(tmp_path / "none.pem")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("v1", "v2"), "its format is"),
        (('"position":', '"place":'), "it is no checkpoint"),
        (('"root":"', '"root":"A'), "its root is not 64 hexadecimal digits"),
        (("}", ',"more":1}'), "it is no checkpoint"),
    ],
)
def test_a_line_that_is_no_checkpoint_is_refused(
    change: tuple[str, str], reason: str, tmp_path: Path
) -> None:
    key = SigningKey.from_file(tmp_path / "key.pem")
    record = SignedCheckpoint.sign(
        Checkpoint(
            log=UUID(int=1),
            position=1,
            events=1,
            chain=bytes(32),
            root=bytes(32),
            previous=NO_PREVIOUS,
            signed_at=datetime(2026, 1, 1, tzinfo=UTC),
            key_id=key.public.id,
        ),
        key,
    )
    assert SignedCheckpoint.from_line(record.line) == record
    with pytest.raises(BadRecord, match=reason):
        SignedCheckpoint.from_line(record.line.replace(*change))
