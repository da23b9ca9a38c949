"""What somebody else has put among the checkpoints does not stop the signing."""

from dataclasses import replace
from pathlib import Path

import psycopg

from infrastructure.process.condition import State
from infrastructure.proofs.checkpoints.records import SignedCheckpoint
from infrastructure.proofs.checkpoints.signing_key import SigningKey
from tests.infrastructure.proofs.checkpoints.signing import Signing
from tests.infrastructure.proofs.checkpoints.test_checkpoints import assert_right
from tests.infrastructure.relay.running import eventually
from tests.projections.log import Log
from tests.projections.random_history import RandomHistory


async def test_what_somebody_else_wrote_among_the_checkpoints_is_ignored(
    signing: Signing, event_log: Log, tmp_path: Path
) -> None:
    history = RandomHistory(60)
    await signing.start()
    await signing.assert_signed_up_to(event_log.append(history.commits(4)))
    await signing.stop_all()
    forged = replace(signing.in_file()[-1].checkpoint, events=1, key_id="ab" * 32)
    other = SigningKey.from_file(tmp_path / "other.pem")
    with psycopg.connect(signing.urls.service) as connection:
        for record in ("nonsense", SignedCheckpoint.sign(forged, other).line):
            connection.execute(
                "INSERT INTO ledger.checkpoints (position, record) VALUES (1, %s)", (record,)
            )

    await signing.start()
    await signing.assert_signed_up_to(event_log.append(history.commits(4)))
    assert_right(signing, signing.in_file())


async def test_however_much_somebody_else_wrote_the_next_checkpoint_follows_the_last_of_ours(
    signing: Signing, event_log: Log, tmp_path: Path
) -> None:
    history = RandomHistory(61)
    await signing.start()
    await signing.assert_signed_up_to(event_log.append(history.commits(4)))
    await signing.assert_published()
    await signing.stop_all()
    own, stranger = signing.in_file(), SigningKey.from_file(tmp_path / "other.pem")
    # What it says of the log is true, so only its key shows that it is not ours.
    true = replace(own[-1].checkpoint, key_id=stranger.public.id)
    foreign = SignedCheckpoint.sign(true, stranger)
    with psycopg.connect(signing.urls.service) as connection:
        connection.execute(
            "INSERT INTO ledger.checkpoints (position, record)"
            " SELECT 1, 'nonsense' FROM generate_series(1, 250)"
        )
        connection.execute(
            "INSERT INTO ledger.checkpoints (position, record) VALUES (%s, %s)",
            (true.position, foreign.line),
        )
    await signing.publish([foreign, b"nonsense", foreign])

    service = await signing.start()
    await signing.assert_signed_up_to(event_log.append(history.commits(4)))
    await eventually(lambda: service.publisher.state is State.WORKING, "publishing")
    assert_right(signing, signing.in_file())


async def test_a_node_that_somebody_else_stored_first_does_not_end_the_signing(
    signing: Signing, event_log: Log
) -> None:
    with psycopg.connect(signing.urls.service) as connection:
        connection.execute(
            "INSERT INTO ledger.tree_nodes (level, number, hash) VALUES (8, 0, sha256('forged'))"
        )
    history = RandomHistory(62)
    await signing.start()
    await signing.assert_signed_up_to(event_log.append(history.commits(150)))
    assert len(event_log.events) > 256, "the node is one of those that are stored"
    await signing.stop_all()

    await signing.start()
    await signing.assert_signed_up_to(event_log.append(history.commits(4)))
    assert_right(signing, signing.in_file())
