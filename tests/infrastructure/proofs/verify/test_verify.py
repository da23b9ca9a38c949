"""Whoever owns the database can change anything in it, and each change is named."""

import itertools

from infrastructure.read_models.rebuild.shadow_tables import ReplayBounds
from projections.registry import PROJECTIONS
from tests.infrastructure.proofs.verify.books import Books

TABLES = [table for projection in PROJECTIONS for table in projection.tables]


async def test_untouched_books_agree(books: Books) -> None:
    parts = await books.verify()

    assert {part.name: part.findings.differences for part in parts if part.findings.count} == {}
    checked = {part.name: part.checked for part in parts}
    assert checked["log"] == len(books.log.events)
    assert checked["checkpoints"] == len(books.signing.in_file()) > 1
    assert checked["MACs"] == checked["accounts"] + checked["other streams"] == checked["log"]
    assert checked["accounts"] > 100
    assert {f"read.{table}" for table in TABLES} < checked.keys()
    assert all(checked[f"read.{table}"] for table in TABLES if table != "expiring_grants")
    assert [part.notes for part in parts if part.notes] == []
    for part, steps in itertools.groupby(books.progress, lambda step: step[0]):
        fractions = [fraction for _, fraction in steps]
        assert fractions == sorted(fractions), part
    assert {part for part, _ in books.progress} == {"log", "streams", "read models"}


async def test_an_event_that_was_changed_is_named(books: Books) -> None:
    position = books.log.events[100][0]
    books.tamper(
        f"UPDATE ledger.ledger_events SET state = state || ' ' WHERE notification_id = {position}"
    )

    found = await books.differences()

    assert [d.text for d in found["log"]] == [f"the event at position {position} was changed"]
    assert [d.position for d in found["MACs"]] == [position]


async def test_every_column_of_an_event_is_hashed(books: Books) -> None:
    changes = (
        "originator_id = gen_random_uuid()",
        "originator_version = originator_version + 1000",
        "topic = 'account.frozen'",
        "recorded_at = recorded_at + interval '1 microsecond'",
    )
    positions = [position for position, _ in books.log.events[7:50:10][: len(changes)]]
    books.tamper(
        *(
            f"UPDATE ledger.ledger_events SET {change} WHERE notification_id = {position}"
            for change, position in zip(changes, positions, strict=True)
        )
    )

    found = await books.differences()

    assert [d.text for d in found["log"]] == [
        f"the event at position {position} was changed" for position in positions
    ]


async def test_an_event_that_was_removed_is_named(books: Books) -> None:
    position = next(
        position for position, event in books.log.events[50:] if event.TOPIC.startswith("account.")
    )
    books.tamper(f"DELETE FROM ledger.ledger_events WHERE notification_id = {position}")

    found = await books.differences()

    assert [d.text for d in found["log"]] == [f"the event at position {position} was removed"]
    assert "breaks a rule" in found["accounts"][0].text
    assert any(name.startswith("read.") for name in found)


async def test_an_event_that_was_put_into_a_gap_is_named(books: Books) -> None:
    books.tamper("SELECT nextval('ledger.ledger_events_notification_id_seq')")
    gap = books.log.head + 1
    await books.grow(73, 5)
    books.tamper(
        "INSERT INTO ledger.ledger_events (originator_id, originator_version, topic, state,"
        f" notification_id) VALUES (gen_random_uuid(), 1, 'account.frozen', '{{}}', {gap})"
    )

    found = await books.differences()

    assert [d.text for d in found["log"]] == [
        f"the event at position {gap} was inserted afterwards"
    ]


async def test_an_event_behind_the_chain_is_named(books: Books) -> None:
    position = books.log.head + 1
    books.tamper(
        "INSERT INTO ledger.ledger_events (originator_id, originator_version, topic, state,"
        f" notification_id) VALUES (gen_random_uuid(), 1, 'account.frozen', '{{}}', {position})"
    )

    found = await books.differences()

    assert [d.position for d in found["log"]] == [position]


async def test_an_event_far_behind_the_chain_is_named(books: Books) -> None:
    """The positions in between cost no work."""
    position = 2**62
    books.tamper(
        "INSERT INTO ledger.ledger_events (originator_id, originator_version, topic, state,"
        f" notification_id) VALUES (gen_random_uuid(), 1, 'account.frozen', '{{}}', {position})"
    )

    found = await books.differences()

    assert [d.position for d in found["log"]] == [position]


async def test_several_processes_name_what_one_names(books: Books) -> None:
    accounts = [
        (position, event)
        for position, event in books.log.events
        if event.TOPIC == "account.credits_debited"
    ]
    changed, removed = accounts[3][0], accounts[-3][0]
    books.tamper(
        "UPDATE ledger.ledger_events SET state = replace(encode(state, 'escape'),"
        f" '\"held_micro\":', '\"held_micro\":1')::bytea WHERE notification_id = {changed}",
        f"DELETE FROM ledger.ledger_events WHERE notification_id = {removed}",
        "DELETE FROM read.journal WHERE position = (SELECT min(position) FROM read.journal)",
    )

    by_one = await books.differences()
    by_three = await books.differences(
        ReplayBounds(events_max=50, processes=3, process_events_min=1)
    )

    assert by_three == by_one
    assert [d.position for d in by_one["log"]] == [changed, removed]
    assert {"log", "accounts", "read.journal", "read.transactions"} <= by_one.keys()


async def test_a_changed_link_is_named(books: Books) -> None:
    position = books.log.events[60][0]
    books.tamper(
        "UPDATE ledger.links SET hash = set_byte(hash, 3, get_byte(hash, 3) # 1)"
        f" WHERE position = (SELECT min(position) FROM ledger.links WHERE position >= {position})"
    )

    found = await books.differences()

    assert "the chain breaks between positions" in found["log"][0].text
    assert len(found["log"]) == 2, "the changed link, and the one behind it"


async def test_a_chain_that_was_made_anew_is_told_from_the_signed_one(books: Books) -> None:
    """Whoever owns the database can change an event and compute every hash behind it."""
    position = books.log.events[80][0]
    last_before = max(
        (
            record.checkpoint.position
            for record in books.signing.in_file()
            if record.checkpoint.position < position
        ),
        default=0,
    )
    books.tamper(
        "UPDATE ledger.ledger_events SET recorded_at = recorded_at + interval '1 hour'"
        f" WHERE notification_id = {position}",
        "DELETE FROM ledger.links",
        "DELETE FROM ledger.tree_nodes",
        """
        DO $$ DECLARE before record; given record; BEGIN
            SELECT 0::bigint AS position, 0::bigint AS events,
                   decode(repeat('00', 32), 'hex') AS hash INTO before;
            LOOP
                SELECT count(*) AS events, max(position) AS last,
                       string_agg(int8send(position) || leaf, NULL ORDER BY position) AS entries
                    INTO given FROM (SELECT notification_id AS position, ledger.leaf(
                        notification_id, originator_id, originator_version, recorded_at, topic,
                        state) AS leaf FROM ledger.ledger_events
                        WHERE notification_id > before.position ORDER BY 1 LIMIT 1) AS leaves;
                EXIT WHEN given.events = 0;
                INSERT INTO ledger.links VALUES (given.last, before.events + 1, given.entries,
                    sha256(before.hash || given.entries))
                    RETURNING position, events, hash INTO before;
            END LOOP;
        END $$
        """,
    )

    found = await books.differences()

    assert found.keys() == {"checkpoints", "checkpoints in NATS"}
    assert f"changed behind position {last_before}" in found["checkpoints"][0].text


async def test_an_end_that_was_removed_is_told_by_the_checkpoints(books: Books) -> None:
    kept = books.log.events[120][0]
    books.tamper(
        f"DELETE FROM ledger.ledger_events WHERE notification_id > {kept}",
        f"DELETE FROM ledger.links WHERE position > {kept}",
        f"DELETE FROM ledger.checkpoints WHERE position > {kept}",
    )

    found = await books.differences()

    texts = [difference.text for difference in found["checkpoints"]]
    assert "the log ends at position" in texts[0]
    assert "the end of the log was removed" in texts[0]
    (lacking,) = found["places of checkpoints"]
    assert lacking.text.startswith("the database lacks")
    assert lacking.text.endswith("and NATS have")


async def test_a_changed_node_of_the_tree_is_named(books: Books) -> None:
    books.tamper("UPDATE ledger.tree_nodes SET hash = sha256(hash) WHERE number = 0 AND level = 8")

    found = await books.differences()

    assert [d.row for d in found["log"]] == ["level 8, number 0"]
