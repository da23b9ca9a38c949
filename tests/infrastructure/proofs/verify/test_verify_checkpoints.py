"""Checkpoints are in three places, and each shows what the others have lost."""

from dataclasses import replace
from pathlib import Path

from infrastructure.proofs.checkpoints.records import SignedCheckpoint
from infrastructure.proofs.checkpoints.signing_key import SigningKey
from interfaces.cli.audit.verify import as_text
from tests.infrastructure.proofs.verify.books import Books
from tests.support.servers import fresh_name


async def test_a_checkpoint_that_was_removed_from_the_file_is_missed(books: Books) -> None:
    lines = books.signing.file.path.read_bytes().splitlines(keepends=True)
    books.signing.file.path.write_bytes(b"".join(lines[:-2] + lines[-1:]))

    found = await books.differences()

    assert "a checkpoint before the checkpoint at position" in found["checkpoints"][0].text
    (lacking,) = found["places of checkpoints"]
    assert "jsonl lacks the checkpoint at position" in lacking.text
    assert lacking.text.endswith("which the database and NATS have")


async def test_a_checkpoint_of_a_stranger_is_told(books: Books) -> None:
    stranger = SigningKey.from_file(books.signing.key_file.with_name("stranger.pem"))
    records = books.signing.in_file()
    forged = SignedCheckpoint(records[-1].checkpoint, stranger.sign(b"anything"))
    lines = [record.line for record in (*records[:-1], forged)]
    books.signing.file.path.write_text("".join(f"{line}\n" for line in lines))

    found = await books.differences()
    unknown = await books.verify([stranger.public])

    assert "the signature of the checkpoint" in found["checkpoints"][0].text
    texts = [d.text for part in unknown for d in part.findings.differences]
    assert "is signed by an unknown key" in texts[0]


async def test_a_file_that_was_removed_is_missed_and_the_databases_own_checkpoints_serve(
    books: Books,
) -> None:
    count = len(books.signing.in_file())
    books.signing.file.path.unlink()

    parts = await books.verify()

    assert parts[1].checked == count
    (lacking,) = [d.text for part in parts for d in part.findings.differences]
    assert f"jsonl lacks {count} checkpoints from position" in lacking


async def test_a_stream_that_was_removed_is_missed(books: Books) -> None:
    count = len(books.signing.in_file())
    connections = replace(books.signing.settings.connections, stream=fresh_name("other"))
    books.signing.settings = replace(books.signing.settings, connections=connections)

    found = await books.differences()

    ((lacking,),) = found.values()
    assert f"NATS lacks {count} checkpoints from position" in lacking.text
    assert (
        "0 in NATS"
        in {part.name: part for part in await books.verify()}["places of checkpoints"].what
    )


async def test_checkpoints_that_are_on_their_way_are_noted_and_missed_when_they_are_late(
    books: Books,
) -> None:
    lines = books.signing.file.path.read_bytes().splitlines(keepends=True)
    books.signing.file.path.write_bytes(b"".join(lines[:-2]))

    late = await books.differences()
    books.signing.settings = replace(books.signing.settings, published_within_s=3600)
    parts = await books.verify()

    assert "jsonl lacks 2 checkpoints" in late["places of checkpoints"][0].text
    assert not any(part.findings.count for part in parts)
    (note,) = [note for part in parts for note in part.notes]
    assert "jsonl lacks 2 checkpoints" in note


async def test_what_a_stranger_publishes_says_nothing_of_the_log(
    books: Books, tmp_path: Path
) -> None:
    own = books.signing.in_file()
    stranger = SigningKey.from_file(tmp_path / "stranger.pem")
    forged = replace(own[-1].checkpoint, position=9 * 10**18, key_id=stranger.public.id)
    await books.signing.publish([SignedCheckpoint.sign(forged, stranger), *own[:2]])
    await books.signing.publish([b"{}"] * 30)

    parts = {part.name: part for part in await books.verify()}

    (found,) = parts["checkpoints in NATS"].findings.differences
    assert "is signed by an unknown key" in found.text
    assert not parts["log"].findings.count + parts["places of checkpoints"].findings.count
    notes = parts["checkpoints in NATS"].notes
    assert sum("it is no checkpoint" in note for note in notes) == 20
    assert "10 more lines are no checkpoints" in notes
    assert any("2 messages repeat earlier checkpoints" in note for note in notes)


async def test_checkpoints_in_nats_tell_what_was_removed_everywhere_else(books: Books) -> None:
    kept = books.log.events[120][0]
    books.tamper(
        f"DELETE FROM ledger.ledger_events WHERE notification_id > {kept}",
        f"DELETE FROM ledger.links WHERE position > {kept}",
        f"DELETE FROM ledger.checkpoints WHERE position > {kept}",
    )
    books.signing.file.path.unlink()

    found = await books.differences()

    assert "checkpoints" not in found
    assert "the end of the log was removed" in found["checkpoints in NATS"][0].text


async def test_without_nats_the_rest_is_verified_and_that_is_noted(books: Books) -> None:
    books.nats_url = "nats://127.0.0.1:1"

    parts = await books.verify()

    assert not any(part.findings.count for part in parts)
    (note,) = parts[2].notes
    assert "what NATS has was not looked at" in note
    assert not parts[2].looked_at
    assert "not looked at" in as_text(parts)
    assert "Everything that was looked at agrees." in as_text(parts)
