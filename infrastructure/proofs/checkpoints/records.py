"""A signed checkpoint as a line of JSON, which is the same in the file, NATS and the database."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID

import msgspec

from domain.proofs.checkpoints import FORMAT, Checkpoint, format_time
from infrastructure.proofs.checkpoints.signing_key import PublicKey, SigningKey

_HASH_DIGITS = 64


class BadRecord(Exception):
    """A text is no signed checkpoint. The message says why."""


class _Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: str
    log: UUID
    position: int
    events: int
    chain: str
    root: str
    previous: str
    time: str
    key: str
    signature: str


@dataclass(frozen=True)
class SignedCheckpoint:
    checkpoint: Checkpoint
    signature: bytes

    @classmethod
    def sign(cls, checkpoint: Checkpoint, key: SigningKey) -> Self:
        return cls(checkpoint, key.sign(checkpoint.text))

    @classmethod
    def from_line(cls, line: bytes | str) -> Self:
        """Raises BadRecord. Does not check the signature, see `is_signed_by`."""
        try:
            read = msgspec.json.decode(line, type=_Line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BadRecord(f"it is no checkpoint: {error}") from None
        if read.format != FORMAT:
            raise BadRecord(f"its format is {read.format!r} and not {FORMAT!r}")
        checkpoint = Checkpoint(
            log=read.log,
            position=read.position,
            events=read.events,
            chain=_digits("chain", read.chain),
            root=_digits("root", read.root),
            previous=_digits("previous", read.previous),
            signed_at=_time(read.time),
            key_id=_digits("key", read.key).hex(),
        )
        return cls(checkpoint, _digits("signature", read.signature, 2 * _HASH_DIGITS))

    @property
    def line(self) -> str:
        """The JSON without a line end."""
        checkpoint = self.checkpoint
        fields = {
            "format": FORMAT,
            "log": str(checkpoint.log),
            "position": checkpoint.position,
            "events": checkpoint.events,
            "chain": checkpoint.chain.hex(),
            "root": checkpoint.root.hex(),
            "previous": checkpoint.previous.hex(),
            "time": format_time(checkpoint.signed_at),
            "key": checkpoint.key_id,
            "signature": self.signature.hex(),
        }
        return msgspec.json.encode(fields).decode("ascii")

    def is_signed_by(self, key: PublicKey) -> bool:
        return self.checkpoint.key_id == key.id and key.has_signed(
            self.checkpoint.text, self.signature
        )


def _time(text: str) -> datetime:
    """Only the form of `format_time` is accepted, so that a checkpoint has only one text."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.utcoffset() is None or format_time(time) != text:
        raise BadRecord("its time is not in the form 2026-01-31T12:00:00.000000Z")
    return time


def _digits(name: str, text: str, digits: int = _HASH_DIGITS) -> bytes:
    """Only lower case is accepted, so that a checkpoint has only one text."""
    if len(text) != digits or text.strip("0123456789abcdef"):
        raise BadRecord(f"its {name} is not {digits} hexadecimal digits in lower case")
    return bytes.fromhex(text)
