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
class Free:
    """No command holds the key: nobody has used it, or the command that did was abandoned."""


@record
class Running:
    """The key's command is being carried out. subject_id: as in CommandStarted."""

    subject_id: UUID


@record
class Completed:
    """The key's command was carried out. result: as in CommandCompleted."""

    result: str


KeyStatus = Free | Running | Completed


@record
class IdempotencyKey:
    """claim_id: `domain.identifiers.idempotency_claim_id`. request_hash: as in CommandStarted."""

    claim_id: UUID
    request_hash: str

    def status(self, state: IdempotencyState | None) -> KeyStatus:
        """What the key's stream says of this request.

        Raises IdempotencyKeyReused when the key stands for another request, also where that one
        was abandoned.
        """
        if state is None:
            return Free()
        if state.request_hash != self.request_hash:
            raise key_reused()
        if state.result is not None:
            return Completed(result=state.result)
        if state.running is not None:
            return Running(subject_id=state.running)
        return Free()

    def start(
        self, state: IdempotencyState | None, *, subject_id: UUID, now: datetime
    ) -> CommandStarted:
        """Raises IdempotencyKeyReused."""
        assert isinstance(self.status(state), Free), "a command is started once"
        return CommandStarted(
            **header(self.claim_id, _next_version(state), now),
            request_hash=self.request_hash,
            subject_id=subject_id,
        )

    def complete(
        self, state: IdempotencyState | None, *, result: str, now: datetime
    ) -> CommandCompleted:
        """Raises IdempotencyKeyReused."""
        assert not isinstance(self.status(state), Completed), "a result is recorded once"
        return CommandCompleted(
            **header(self.claim_id, _next_version(state), now),
            request_hash=self.request_hash,
            result=result,
        )


def abandon(state: IdempotencyState, *, reason: str, now: datetime) -> CommandAbandoned:
    assert state.running is not None, "only a running command is abandoned"
    return CommandAbandoned(**header(state.id, state.version + 1, now), reason=reason)


def key_reused() -> IdempotencyKeyReused:
    return IdempotencyKeyReused(
        "this Idempotency-Key was used for a different request; use a fresh key"
    )


def _next_version(state: IdempotencyState | None) -> int:
    return 1 if state is None else state.version + 1
