"""`chatledger audit verify-receipt FILE`: needs neither the service nor its database."""

import argparse
import sys
from pathlib import Path
from typing import Any

from eventsourcing.persistence import MapperDeserialisationError
from pydantic import ValidationError

from application.proofs import Proof
from domain.credits import format_credits
from infrastructure.proofs.checkpoints.records import BadRecord
from infrastructure.proofs.checkpoints.signing_key import PublicKey
from infrastructure.proofs.verify.receipt import check_proof, receipt_of
from interfaces.cli.refusals import explain
from interfaces.exact_json import NotJson, read_json, write_json
from interfaces.http.billing.protocol import ReceiptWire
from interfaces.http.billing.receipts import receipt_wire

EXIT_DIFFERS = 1
EXIT_CANNOT_TELL = 2


class NoReceipt(Exception):
    """The text says what the file is instead."""


def verify_receipt(options: argparse.Namespace) -> int:
    """0 when the receipt is proven, 1 when something differs, 2 when it cannot be told."""
    try:
        key = PublicKey.load(options.public_key)
        receipt = _read(options.receipt)
    except NoReceipt as error:
        print(f"chatledger: {error}", file=sys.stderr)
        return EXIT_CANNOT_TELL
    except Exception as error:  # noqa: BLE001 - explain() raises what it does not know
        print(f"chatledger: {explain(error)}", file=sys.stderr)
        return EXIT_CANNOT_TELL
    if receipt.proof.checkpoint is None:
        print(
            "chatledger: no checkpoint covers this receipt yet, so nothing is proven; ask for it"
            f" again after {receipt.proof.expected_by}",
            file=sys.stderr,
        )
        return EXIT_CANNOT_TELL
    if wrong := differences(receipt, key):
        print(f"The receipt of message {receipt.message_id} is NOT proven:")
        print("\n".join(f"  {text}" for text in wrong))
        return EXIT_DIFFERS
    print(_proven(receipt))
    return 0


def differences(receipt: ReceiptWire, key: PublicKey) -> list[str]:
    """A sentence for each thing that is not what the signed log says."""
    proof = receipt.proof
    assert proof.checkpoint is not None
    try:
        signed = proof.checkpoint.signed()
        events = [event.event() for event in proof.events]
    except BadRecord as error:
        return [f"its checkpoint cannot be read: {error}"]
    except ValueError as error:
        return [f"a hash of its proof is not in hexadecimal: {error}"]
    try:
        wrong = check_proof(events, signed, key)
    except OverflowError:
        return ["a position, version or time of its proof is beyond what a log can hold"]
    if proof.status != "covered" or proof.expected_by is not None:
        wrong.append("the proof says that it is pending, and has a checkpoint")
    try:
        view = receipt_of(events, receipt.message_id)
    except MapperDeserialisationError as error:
        return [*wrong, str(error)]
    if view is None:
        return [*wrong, f"none of its events is about message {receipt.message_id}"]
    of_events = Proof(events=tuple(events), checkpoint=None, expected_by=None)
    expected = receipt_wire(view, of_events).model_dump(exclude={"proof"})
    given = receipt.model_dump(exclude={"proof"})
    return wrong + [
        f"{name} is {_shown(given[name])}, and by the events it is {_shown(value)}"
        for name, value in expected.items()
        if given[name] != value
    ]


def _shown(value: object) -> object:
    """A price has parts, which stand here as they do in the receipt."""
    return write_json(value).decode() if isinstance(value, dict) else value


def _read(path: Path) -> ReceiptWire:
    """Raises NoReceipt."""
    try:
        return ReceiptWire.model_validate(read_json(path.read_bytes()))
    except OSError as error:
        raise NoReceipt(f"{path} cannot be read: {error.strerror}") from None
    except NotJson as error:
        raise NoReceipt(f"{path} is no receipt: it {error}") from None
    except ValidationError as error:
        first: Any = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise NoReceipt(f"{path} is no receipt: {place}: {first['msg']}") from None


def _proven(receipt: ReceiptWire) -> str:
    proof = receipt.proof
    assert proof.checkpoint is not None
    positions = [str(event.position) for event in proof.events]
    return (
        f"Proven: for message {receipt.message_id}, {_credits(receipt.held)} credits were held,"
        f" {_credits(receipt.charged)} charged, {_credits(receipt.released)} given back and"
        f" {_credits(receipt.refunded)} refunded, as the events at positions"
        f" {', '.join(positions)} say, which are in the log of {proof.checkpoint.events} events"
        f" that key {proof.checkpoint.key[:16]}… signed on {proof.checkpoint.time}."
    )


def _credits(amount: Any) -> str:
    return format_credits(int(amount * 1_000_000))
