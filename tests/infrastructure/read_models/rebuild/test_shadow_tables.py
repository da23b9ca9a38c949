"""The rows are the same however the log is cut into stretches and wherever these are folded."""

import re
from uuid import UUID

import psycopg
import pytest
from eventsourcing.persistence import MapperDeserialisationError, StoredEvent
from psycopg import AsyncConnection

from application.ledger.mapping import EventMapper
from domain.accounts.events import CreditsDebited
from domain.pricing.price import PriceKind
from infrastructure.log.reader import ReadBounds
from infrastructure.read_models.rebuild.rebuild import rebuild
from infrastructure.read_models.rebuild.shadow_tables import ReplayBounds
from infrastructure.read_models.rebuild.stretch import Folder, FoldPlan
from infrastructure.read_models.row_sql import RowSql
from projections.registry import PROJECTIONS
from tests.infrastructure.read_models.rebuild.replaying import SMALL, Watched, project
from tests.projections.log import Log, comparable, stored_rows
from tests.projections.random_history import RandomHistory
from tests.support.forging import Forger, bare
from tests.support.keys import EVENT_MACS, LEDGER_KEYS, with_mac
from tests.support.servers import DatabaseUrls

SHARED_OUT = ReplayBounds(events_max=40, processes=2, process_events_min=1)


async def test_several_processes_make_the_same_rows(event_log: Log, database: DatabaseUrls) -> None:
    event_log.append(RandomHistory(22).commits(200))

    position = await rebuild([], database.service, Watched(), bounds=SHARED_OUT, macs=EVENT_MACS)

    assert position == event_log.head
    assert comparable(stored_rows(database.service)) == comparable(event_log.naive_rows())


async def test_what_a_process_is_refused_by_the_database_is_told_as_such(
    event_log: Log, database: DatabaseUrls
) -> None:
    event_log.append(RandomHistory(27).commits(20))
    with psycopg.connect(database.owner) as connection:
        role = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'chatledger_service'")
        assert role.fetchone()
        connection.execute("REVOKE SELECT ON ledger.ledger_events FROM chatledger_service")
        connection.execute(
            "GRANT SELECT (notification_id) ON ledger.ledger_events TO chatledger_service"
        )

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await rebuild([], database.service, Watched(), bounds=SHARED_OUT, macs=EVENT_MACS)


async def test_a_stretch_with_more_bytes_than_allowed_is_made_in_parts(
    event_log: Log, database: DatabaseUrls
) -> None:
    event_log.append(RandomHistory(23).commits(100))

    for bytes_max in (1, 5000):
        bounds = ReplayBounds(bytes_max=bytes_max)
        await rebuild([], database.service, Watched(), bounds=bounds, macs=EVENT_MACS)
        assert comparable(stored_rows(database.service)) == comparable(event_log.naive_rows())


def plan_of(service_url: str, sql: RowSql) -> FoldPlan:
    return FoldPlan(
        service_url=service_url,
        sql=sql,
        positions={projection.name: 0 for projection in PROJECTIONS},
        bounds=ReadBounds(),
        connect_timeout_s=5,
        macs=EVENT_MACS,
    )


@pytest.mark.parametrize("believed", [True, False])
async def test_a_stretch_that_the_ledger_did_not_write_is_not_folded_but_comes_out_right(
    believed: bool, event_log: Log, database: DatabaseUrls
) -> None:
    """Ids in capitals are the same ids."""
    event_log.append(RandomHistory(24).commits(150))
    async with await AsyncConnection.connect(database.service, autocommit=True) as connection:
        plan = plan_of(database.service, await RowSql.load(connection, "read_shadow"))
    folder = Folder(plan)
    copy_in_capitals(database.owner, event_log.head, believed=believed)
    assert folder.fold(0, event_log.head).parts is not None
    copied = folder.fold(event_log.head, 2 * event_log.head)
    assert (copied.parts is not None) is believed
    folder.close()

    await project(database.service, events_max=1)
    before = comparable(stored_rows(database.service))
    await rebuild([], database.service, Watched(), bounds=SMALL, macs=EVENT_MACS)

    assert comparable(stored_rows(database.service)) == before


def copy_in_capitals(owner_url: str, head: int, *, believed: bool) -> None:
    """A copy of the log for other users, with some ids in capitals. believed: with MACs, as if the
    ledger had written it."""
    with psycopg.connect(owner_url) as connection:
        rows = connection.execute(
            "SELECT originator_id, originator_version, topic, state FROM ledger.ledger_events"
            " WHERE notification_id <= %s ORDER BY notification_id",
            (head,),
        ).fetchall()
        for number, (stream_id, version, topic, state) in enumerate(rows):
            stream, bare = UUID(other_id(str(stream_id))), state[: state.rindex(b',"mac":"')] + b"}"
            other = ID.sub(lambda found: other_id(found[0].decode()).encode(), bare)
            if number % 3 == 0:
                other = ID.sub(lambda found: found[0].upper(), other)
            if believed:
                other = EVENT_MACS.add(stream.bytes, version, topic, other)
            connection.execute(
                "INSERT INTO ledger.ledger_events (originator_id, originator_version, topic, state)"
                " VALUES (%s, %s, %s, %s)",
                (stream, version, topic, other),
            )


ID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def other_id(text: str) -> str:
    """Another id for each id, always with a letter in it."""
    return "ab" + text[2:34] + "cd"


@pytest.mark.parametrize(
    ("found", "forged"),
    [
        (rb'"message_micro":[0-9]+', b'"message_micro":-1'),  # No price is negative.
        (rb'"amount_micro":[0-9]+', b'"amount_micro":9223372036854775808'),  # No bigint.
        (rb'"amount_micro":[0-9]+', b'"amount_micro":18446744073709551616'),  # Nor 64 bits.
        (rb'"user_id":"[^"]+"', b'"user_id":7'),
        (rb'"timestamp":"[^"]+"', b'"timestamp":"yesterday"'),
    ],
)
async def test_an_event_that_no_rows_can_be_made_of_stops_a_rebuild_and_changes_nothing(
    found: bytes, forged: bytes, event_log: Log, database: DatabaseUrls
) -> None:
    """As whoever has the ledger's keys could write it."""
    event_log.append(RandomHistory(28).commits(100))
    await project(database.service)
    before = comparable(stored_rows(database.service))
    stored = next(
        EventMapper(LEDGER_KEYS).to_stored_event(event)
        for _, event in event_log.events
        if isinstance(event, CreditsDebited) and event.price.kind is PriceKind.PER_MESSAGE
    )
    state, count = re.subn(found, forged, bare(stored), count=1)
    assert count == 1
    head = Forger(database).insert(
        with_mac(StoredEvent(UUID(int=5), stored.originator_version, stored.topic, state))
    )
    async with await AsyncConnection.connect(database.service, autocommit=True) as connection:
        plan = plan_of(database.service, await RowSql.load(connection, "read_shadow"))
    folder = Folder(plan)
    folded = folder.fold(event_log.head, head)
    folder.close()
    number = forged.partition(b":")[2]
    left_to_the_database = folded.parts and number in folded.parts[0].copies[0].body
    assert folded.parts is None or left_to_the_database

    with pytest.raises((MapperDeserialisationError, psycopg.DataError, AssertionError)):
        await rebuild([], database.service, Watched(), bounds=SMALL, macs=EVENT_MACS)

    assert comparable(stored_rows(database.service)) == before


async def test_a_gap_of_any_size_in_the_positions_is_no_work(
    event_log: Log, database: DatabaseUrls
) -> None:
    event_log.append(RandomHistory(25).commits(30))
    with psycopg.connect(database.owner) as connection:
        connection.execute(
            "SELECT setval('ledger.ledger_events_notification_id_seq', 4000000000000000000)"
        )
    event_log.append(RandomHistory(26).commits(30))

    await rebuild([], database.service, Watched(), bounds=SMALL, macs=EVENT_MACS)

    assert comparable(stored_rows(database.service)) == comparable(event_log.naive_rows())
