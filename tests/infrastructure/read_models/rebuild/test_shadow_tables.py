"""The rows are the same however the log is cut into stretches and wherever these are folded."""

import re
from uuid import UUID

import psycopg
import pytest
from psycopg import AsyncConnection

from infrastructure.log.reader import ReadBounds
from infrastructure.read_models.rebuild.rebuild import rebuild
from infrastructure.read_models.rebuild.shadow_tables import ReplayBounds
from infrastructure.read_models.rebuild.stretch import Folder, FoldPlan
from infrastructure.read_models.row_sql import RowSql
from projections.registry import PROJECTIONS
from tests.infrastructure.read_models.rebuild.replaying import SMALL, Watched, project
from tests.projections.log import Log, comparable, stored_rows
from tests.projections.random_history import RandomHistory
from tests.support.keys import EVENT_MACS
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
