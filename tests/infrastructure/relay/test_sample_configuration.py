"""The configuration of nats-server in docs/servers.md is one that the service works with."""

import re
from pathlib import Path

import pytest

from infrastructure.proofs.checkpoints.settings import CheckpointSettings
from infrastructure.proofs.verify.published import copy_published
from infrastructure.relay.permissions import reader_permissions, relay_permissions
from tests.infrastructure.proofs.checkpoints.signing import Signing
from tests.infrastructure.relay.own_nats import OwnNats
from tests.infrastructure.relay.running import Running
from tests.projections.log import Log
from tests.projections.random_history import RandomHistory
from tests.support.servers import DatabaseUrls

PAGE = Path(__file__).parents[3] / "docs" / "servers.md"
STREAM = "chatledger"


@pytest.fixture
def sample() -> str:
    found = re.search(r"```nats\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found
    return found.group(1)


@pytest.mark.parametrize("permissions", [relay_permissions(STREAM), reader_permissions(STREAM)])
def test_it_has_the_rights_of_the_embedded_server(
    permissions: dict[str, dict[str, list[str]]], sample: str
) -> None:
    quoted = "\n".join(f'          "{subject}"' for subject in permissions["publish"]["allow"])
    assert f"publish {{ allow: [\n{quoted}\n        ] }}" in sample
    assert f'subscribe {{ allow: [ "{permissions["subscribe"]["allow"][0]}" ] }}' in sample


async def test_a_server_with_it_carries_events_and_checkpoints(
    sample: str, tmp_path: Path, database: DatabaseUrls, event_log: Log
) -> None:
    nats = OwnNats(tmp_path, configuration=sample)
    nats.start()
    relay = nats.url_of("chatledger_relay", "change-me-relay")
    reader = nats.url_of("chatledger_reader", "change-me-reader")
    running = Running(database.service, relay, STREAM, event_log, nats_read_url=reader)
    signing = Signing(database, relay, STREAM, tmp_path)
    try:
        service = await running.start_working()
        await signing.start()
        event_log.append(RandomHistory(91).commits(20))
        await running.assert_published(service)
        await running.assert_caught_up(service)
        await signing.assert_signed_up_to(event_log.head)
        count = len(signing.in_database())
        settings: CheckpointSettings = signing.settings
        with (tmp_path / "copy").open("wb") as copy:
            while await copy_published(reader, settings, signing.log_id, copy) < count:
                copy.truncate(0)
    finally:
        await signing.stop_all()
        await running.stop_all()
        nats.kill()
