"""One command per idempotency key: what was asked (a hash) and what came of it.

Quick commands are recorded at once by CommandCompleted. A chat message takes seconds, so it is
CommandStarted in the commit that holds the credits, and CommandCompleted in the commit that
debits them; CommandAbandoned, in the commit that releases the hold, frees the key for another
try.
"""

from dataclasses import replace
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from domain.errors import IdempotencyKeyReused
from domain.events import Event, PersonalText, header
from domain.records import record


@record
class CommandStarted(Event):
    """request_hash: hex SHA-256 of the canonical request. subject_id: what the command makes,
    for a chat message the answer's id."""

    TOPIC: ClassVar[str] = "idempotency.command_started"

    request_hash: str
    subject_id: UUID


@record
class CommandCompleted(Event):
    """result: the answer's JSON, replayed as it was."""

    TOPIC: ClassVar[str] = "idempotency.command_completed"

    request_hash: str
    result: PersonalText


@record
class CommandAbandoned(Event):
    TOPIC: ClassVar[str] = "idempotency.command_abandoned"

    reason: str


IdempotencyEvent = CommandStarted | CommandCompleted | CommandAbandoned


@record
class IdempotencyState:
    """running: the subject of a started command. result: of a completed one."""

    id: UUID
    version: int
    request_hash: str
    running: UUID | None = None
    result: str | None = None


def evolve(state: IdempotencyState | None, event: IdempotencyEvent) -> IdempotencyState:
    """Never rejects history."""
    match event:
        case CommandStarted():
            return IdempotencyState(
                id=event.originator_id,
                version=event.originator_version,
                request_hash=event.request_hash,
                running=event.subject_id,
            )
        case CommandCompleted():
            return IdempotencyState(
                id=event.originator_id,
                version=event.originator_version,
                request_hash=event.request_hash,
                result=event.result,
            )
        case CommandAbandoned():
            assert state is not None, "only a started command is abandoned"
            return replace(state, version=event.originator_version, running=None)


@record
class IdempotencyKey:
    """claim_id: `domain.identifiers.idempotency_claim_id`."""

    claim_id: UUID
    request_hash: str

    def check(self, state: IdempotencyState | None) -> None:
        """Raises IdempotencyKeyReused when the key stands for another request. A key whose
        command was abandoned may be used for the same request again."""
        if state is not None and state.request_hash != self.request_hash:
            raise IdempotencyKeyReused(
                "this Idempotency-Key was used for a different request; use a fresh key"
            )

    def start(
        self, state: IdempotencyState | None, *, subject_id: UUID, now: datetime
    ) -> CommandStarted:
        self.check(state)
        assert state is None or (state.running is None and state.result is None)
        return CommandStarted(
            **header(self.claim_id, _next_version(state), now),
            request_hash=self.request_hash,
            subject_id=subject_id,
        )

    def complete(
        self, state: IdempotencyState | None, *, result: str, now: datetime
    ) -> CommandCompleted:
        self.check(state)
        assert state is None or state.result is None
        return CommandCompleted(
            **header(self.claim_id, _next_version(state), now),
            request_hash=self.request_hash,
            result=result,
        )


def abandon(state: IdempotencyState, *, reason: str, now: datetime) -> CommandAbandoned:
    assert state.running is not None, "only a running command is abandoned"
    return CommandAbandoned(**header(state.id, state.version + 1, now), reason=reason)


def _next_version(state: IdempotencyState | None) -> int:
    return 1 if state is None else state.version + 1
