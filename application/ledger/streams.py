"""The kinds of stream: how each folds, and which events it may hold."""

from collections.abc import Callable
from dataclasses import dataclass
from types import UnionType
from typing import Any, Generic, Protocol, TypeVar, cast, get_args
from uuid import UUID

from domain.accounts import state as accounts
from domain.accounts.events import AccountEvent
from domain.claims import idempotency, uniqueness
from domain.conversations import state as conversations
from domain.conversations.events import ConversationEvent
from domain.events import Event
from domain.sessions import state as sessions
from domain.sessions.events import SessionEvent
from domain.users import state as users
from domain.users.events import UserEvent


class StreamState(Protocol):
    @property
    def id(self) -> UUID: ...

    @property
    def version(self) -> int: ...


S = TypeVar("S", bound=StreamState)


@dataclass(frozen=True, kw_only=True)
class StreamKind(Generic[S]):
    """state_version: raised whenever the state's fields change, so that old snapshots are folded
    anew instead of misread. snapshot_interval: events between two snapshots. usually_new: a stream
    that is not in memory most likely does not exist yet, so the command is decided as if it did
    not; the commit proves it."""

    name: str
    state_type: type[S]
    state_version: int
    snapshot_interval: int
    usually_new: bool = False
    evolve: Callable[[S | None, Any], S]
    event_types: tuple[type[Event], ...]


def _members(union: object) -> tuple[type[Event], ...]:
    if isinstance(union, UnionType):
        return cast("tuple[type[Event], ...]", get_args(union))
    return (cast("type[Event]", union),)


ACCOUNT = StreamKind(
    name="account",
    state_type=accounts.AccountState,
    state_version=1,
    snapshot_interval=100,
    evolve=accounts.evolve,
    event_types=_members(AccountEvent),
)
CONVERSATION = StreamKind(
    name="conversation",
    state_type=conversations.ConversationState,
    state_version=2,
    snapshot_interval=100,
    usually_new=True,
    evolve=conversations.evolve,
    event_types=_members(ConversationEvent),
)
USER = StreamKind(
    name="user",
    state_type=users.UserState,
    state_version=4,
    snapshot_interval=100,
    evolve=users.evolve,
    event_types=_members(UserEvent),
)
SESSION = StreamKind(
    name="session",
    state_type=sessions.SessionState,
    state_version=3,
    snapshot_interval=100,
    usually_new=True,
    evolve=sessions.evolve,
    event_types=_members(SessionEvent),
)
CLAIM = StreamKind(
    name="claim",
    state_type=uniqueness.ClaimState,
    state_version=1,
    snapshot_interval=100,
    usually_new=True,
    evolve=uniqueness.evolve,
    event_types=_members(uniqueness.ValueClaimed),
)
IDEMPOTENCY = StreamKind(
    name="idempotency",
    state_type=idempotency.IdempotencyState,
    state_version=1,
    snapshot_interval=100,
    usually_new=True,
    evolve=idempotency.evolve,
    event_types=_members(idempotency.IdempotencyEvent),
)

ALL_KINDS: tuple[StreamKind[Any], ...] = (
    ACCOUNT,
    CONVERSATION,
    USER,
    SESSION,
    CLAIM,
    IDEMPOTENCY,
)
