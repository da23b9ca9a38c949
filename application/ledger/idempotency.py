"""Commands that are done once, however often they are sent."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Generic, TypeVar
from uuid import UUID

import msgspec

from application.ledger.ledger import Ledger, Transaction
from application.ledger.streams import IDEMPOTENCY
from application.ports import Clock
from domain.claims.idempotency import Completed, Free, IdempotencyKey, Running
from domain.errors import CommandInProgress
from domain.identifiers import idempotency_claim_id

R = TypeVar("R")

KEY_CHARACTERS_MAX = 255


def idempotency_key(
    owner_id: UUID, key: str | None, command: str, **request: object
) -> IdempotencyKey | None:
    """The claim of a key that a client sent, or None where it sent none.

    request: what makes two requests the same; never a password, because the hash is stored.
    """
    if key is None:
        return None
    canonical = msgspec.json.encode({"command": command, **request}, order="deterministic")
    return IdempotencyKey(
        claim_id=idempotency_claim_id(owner_id, key),
        request_hash=sha256(canonical).hexdigest(),
    )


@dataclass(frozen=True, kw_only=True)
class Outcome(Generic[R]):
    """replayed: the result is an earlier one. position: of the last event written, if any."""

    result: R
    replayed: bool
    position: int | None


def encode_result(result: object) -> str:
    """As it is recorded under a key."""
    return msgspec.json.encode(result).decode()


def decode_result(recorded: Completed, result_type: type[R]) -> R:
    return msgspec.json.decode(recorded.result, type=result_type)


async def once(
    ledger: Ledger,
    clock: Clock,
    key: IdempotencyKey | None,
    work: Callable[[Transaction], R],
    *,
    result_type: type[R],
) -> Outcome[R]:
    """Run `work` and record its result under the key in the same commit, or replay the result
    recorded before.

    Raises IdempotencyKeyReused, CommandInProgress, LedgerUnavailable, and what `work` refuses.
    """
    attempt = partial(_attempt, work, key, clock, result_type)
    committed = await ledger.transact(attempt)
    result, replayed = committed.value
    return Outcome(result=result, replayed=replayed, position=committed.position)


def _attempt(
    work: Callable[[Transaction], R],
    key: IdempotencyKey | None,
    clock: Clock,
    result_type: type[R],
    transaction: Transaction,
) -> tuple[R, bool]:
    if key is None:
        return work(transaction), False
    claim = transaction.load(IDEMPOTENCY, key.claim_id)
    match key.status(claim):
        case Completed() as recorded:
            return decode_result(recorded, result_type), True
        case Running():
            raise CommandInProgress(
                "the same command is still being carried out; try again shortly"
            )
        case Free():
            result = work(transaction)
            done = key.complete(claim, result=encode_result(result), now=clock.now())
            transaction.add(IDEMPOTENCY, done)
            return result, False
