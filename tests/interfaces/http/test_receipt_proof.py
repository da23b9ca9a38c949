"""A receipt proves itself to whoever has the public key, and nothing in it can be changed."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from application.chat.inference_errors import InferenceError
from application.ledger.streams import ACCOUNT
from domain.accounts.commands import RefundDebit
from domain.accounts.decider import decide_refund
from domain.accounts.events import CreditsDebited, CreditsHeld
from domain.identifiers import account_id
from infrastructure.event_store.recorder import open_application
from infrastructure.process.clock_ids import SystemClock
from infrastructure.proofs.checkpoints.signing_key import SigningKey
from interfaces.cli.audit.receipt import verify_receipt
from interfaces.cli.main import parser
from tests.support.api import Api, Person
from tests.support.books import stored_events
from tests.support.scripted_engine import script

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENCE_S = 30.0


async def covered(person: Person, message_id: str) -> dict[str, Any]:
    """The receipt, once a checkpoint covers it."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            response = await person.get(f"/billing/receipts/{message_id}")
            receipt: dict[str, Any] = response.json()
            # The failure of an answer tells no position, so the row may not be there yet.
            if response.status_code == 404 or receipt["status"] == "open":
                continue
            if receipt["proof"]["status"] == "covered":
                return receipt
            assert receipt["proof"]["checkpoint"] is None
            assert receipt["proof"]["expected_by"] is not None
            await asyncio.sleep(0.02)


@pytest.fixture
def public_key(api: Api, tmp_path: Path) -> Path:
    path = tmp_path / "public.pem"
    path.write_text(SigningKey.from_file(api.settings.checkpoint_key_file).public.pem)
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def receipt(api: Api) -> dict[str, Any]:
    person = await api.person()
    return await covered(person, (await person.say())["message_id"])


def command(receipt: str, public_key: str) -> int:
    """Without `main`, which sets up the logs of the whole process."""
    arguments = ["audit", "verify-receipt", receipt, "--public-key", public_key]
    return verify_receipt(parser().parse_args(arguments))


class Verified:
    def __init__(self, status: int, output: str, errors: str) -> None:
        self.status = status
        self.output = output
        self.errors = errors


def verify(
    receipt: object, public_key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Verified:
    path = tmp_path / "receipt.json"
    path.write_text(receipt if isinstance(receipt, str) else json.dumps(receipt))
    capsys.readouterr()
    status = command(str(path), str(public_key))
    printed = capsys.readouterr()
    return Verified(status, printed.out, printed.err)


async def test_a_receipt_is_proven_in_a_sentence(
    receipt: dict[str, Any],
    public_key: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    verified = verify(receipt, public_key, tmp_path, capsys)

    assert (verified.status, verified.errors) == (0, "")
    assert verified.output.startswith(
        f"Proven: for message {receipt['message_id']}, 2 credits were held, 2 charged, 0 given"
        f" back and 0 refunded, as the events at positions {receipt['hold_position']},"
    )
    assert receipt["proof"]["checkpoint"]["time"] in verified.output


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of every value that is no object and no list, and of every list."""
    match value:
        case dict():
            for name, part in value.items():
                yield from places(part, (*path, name))
        case list():
            yield path
            for number, part in enumerate(value):
                yield from places(part, (*path, number))
        case _:
            yield path


def changed(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case None:
            return "something"
        case list():
            return value[:-1] if value else ["ab" * 32]
        case str() if value[:1] in "0123456789abcdef" and value[-1:] in "0123456789abcdef":
            return value[:-1] + ("0" if value[-1] != "0" else "1")
        case str() if value.endswith("Z") and value[:2] == "20":
            return value.replace("20", "21", 1)
    return f"{value}x"


async def test_nothing_in_a_receipt_can_be_changed(
    receipt: dict[str, Any],
    public_key: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    every = [place for place in places(receipt) if place != ("proof", "events")]
    assert len(every) > 60
    for place in every:
        forged = json.loads(json.dumps(receipt))
        part = forged
        for step in place[:-1]:
            part = part[step]
        part[place[-1]] = changed(part[place[-1]])
        verified = verify(forged, public_key, tmp_path, capsys)
        assert verified.status in (1, 2), (place, part[place[-1]], verified.output)
        assert verified.output or verified.errors, place
        if place[0] != "proof" and verified.status == 1 and place != ("message_id",):
            assert f"  {place[0]}" in verified.output, (place, verified.output)


@pytest.mark.parametrize("number", [0, 1, 2])
async def test_an_event_that_is_left_out_is_missed(
    number: int,
    receipt: dict[str, Any],
    public_key: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    forged = json.loads(json.dumps(receipt))
    del forged["proof"]["events"][number]

    assert verify(forged, public_key, tmp_path, capsys).status == 1


async def test_what_was_changed_is_told_with_both_values(
    receipt: dict[str, Any],
    public_key: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cheaper = {"charged": 1.5, "price": receipt["price"] | {"credits": 1.5}}
    verified = verify(receipt | cheaper, public_key, tmp_path, capsys)

    assert verified.status == 1
    [title, price, charged] = verified.output.splitlines()
    assert title == f"The receipt of message {receipt['message_id']} is NOT proven:"
    assert price.startswith('  price is {"kind":"per_message","credits":1.5,')
    assert ', and by the events it is {"kind":"per_message","credits":2,' in price
    assert charged == "  charged is 1.5, and by the events it is 2"


async def test_the_receipt_of_another_ledger_is_not_proven(
    receipt: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.pem"
    other.write_text(SigningKey.from_file(tmp_path / "other-key.pem").public.pem)

    verified = verify(receipt, other, tmp_path, capsys)

    assert verified.status == 1
    assert "not signed with this public key" in verified.output


async def test_a_pending_receipt_says_when_to_come_again(
    receipt: dict[str, Any],
    public_key: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pending = json.loads(json.dumps(receipt))
    pending["proof"] |= {
        "status": "pending",
        "checkpoint": None,
        "expected_by": "2026-03-01T12:00:00Z",
    }

    verified = verify(pending, public_key, tmp_path, capsys)

    assert verified.status == 2
    assert "ask for it again after 2026-03-01 12:00" in verified.errors


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is no receipt: it is not valid JSON"),
        ("[]", "is no receipt"),
        ("{}", "is no receipt: message_id: Field required"),
    ],
)
async def test_a_file_that_is_no_receipt_is_told_so(
    text: str,
    reason: str,
    public_key: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    verified = verify(text, public_key, tmp_path, capsys)

    assert verified.status == 2
    assert reason in verified.errors


async def test_a_file_that_is_not_there_is_told_so(
    public_key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "none.json")
    assert command(missing, str(public_key)) == 2
    assert "cannot be read: No such file" in capsys.readouterr().err
    assert command(missing, missing) == 2
    assert "the public key" in capsys.readouterr().err


async def test_what_was_given_back_or_refunded_is_proven_too(
    api: Api, public_key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    person = await api.person()
    api.engine.script_next(script(InferenceError("the model broke off")))
    await person.post("/chat/message", {"message": "Hello there"})
    failed = stored_holds(api, person)[0]
    answered = (await person.say())["message_id"]
    await refund(api, UUID(person.user_id), UUID(answered))

    for message_id, told in (
        (failed, "0 charged, 2 given back"),
        (answered, "2 charged, 0 given back and 2 refunded"),
    ):
        receipt = await covered(person, str(message_id))
        verified = verify(receipt, public_key, tmp_path, capsys)
        assert verified.status == 0, verified.output
        assert told in verified.output


def stored_holds(api: Api, person: Person) -> list[UUID]:
    """The messages that credits were held for, by the log."""
    return [
        event.message_id
        for event in stored_events(api.urls.service)
        if isinstance(event, CreditsHeld) and event.user_id == UUID(person.user_id)
    ]


async def refund(api: Api, user_id: UUID, message_id: UUID) -> None:
    """As an administrator's command in another process would."""
    (debit,) = (
        event
        for event in stored_events(api.urls.service)
        if isinstance(event, CreditsDebited) and event.message_id == message_id
    )
    application = open_application(
        api.urls.service, api.ledger_keys, threads=1, connect_timeout_s=5, cached_streams_max=1
    )
    try:
        state = application.load(ACCOUNT, account_id(user_id))
        command = RefundDebit(
            refund_id=api.services.new_id(),
            debit=debit,
            amount_micro=debit.amount_micro,
            reason="the answer was wrong",
            refunded_by=user_id,
        )
        claimed, events, _ = decide_refund(command, state, None, SystemClock().now())
        recordings = application.save(claimed, *events)
    finally:
        application.close()
    assert await api.services.read_models.wait_for(recordings[-1].notification.id, PATIENCE_S)
