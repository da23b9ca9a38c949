"""What one call of the ledger has seen of the streams it decides on."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

from application.ledger.commits import Commit
from application.ledger.event_store import LedgerApplication
from application.ledger.state_cache import StateCache
from application.ledger.streams import S, StreamKind, StreamState

Stream = tuple[StreamKind[Any], UUID]


class StateMissing(BaseException):
    """A handler asks for a state that is not in memory. A BaseException, so that no handler
    catches it by `except Exception`."""

    def __init__(self, kind: StreamKind[Any], stream_id: UUID) -> None:
        self.stream = (kind, stream_id)


@dataclass(slots=True)
class Call:
    """deadline: until when a database that is away is waited for, by the loop's clock. fresh: what
    was read from the store during the call, by stream; None where there is nothing. cancelled:
    the caller has gone, and what it began is finished without it."""

    deadline: float
    fresh: dict[UUID, StreamState | None] = field(default_factory=dict)
    cancelled: asyncio.CancelledError | None = None


class Attempt:
    """The states that a handler sees when it is run once.

    seen: each stream with its version, 0 for none; a transaction asks for each once. after: the
    commits under way that it saw the results of. unproven: streams whose states were in memory or
    guessed, and so may be behind what is stored.
    """

    __slots__ = ("_cache", "_call", "after", "seen", "unproven")

    def __init__(self, cache: StateCache, call: Call) -> None:
        self._cache = cache
        self._call = call
        self.seen: list[tuple[StreamKind[Any], UUID, int]] = []
        self.after: list[Commit] = []
        self.unproven: list[Stream] = []

    def load(self, kind: StreamKind[S], stream_id: UUID) -> S | None:
        """Raises StateMissing."""
        entry = self._cache.find(kind, stream_id)
        fresh = self._call.fresh
        state: Any
        if entry is not None:
            state = entry.state
            if entry.commit is not None:
                self.after.append(entry.commit)
            elif not fresh or stream_id not in fresh:
                self.unproven.append((kind, stream_id))
        elif stream_id in fresh:
            state = fresh[stream_id]
        elif kind.usually_new:
            state = None
            self.unproven.append((kind, stream_id))
        else:
            raise StateMissing(kind, stream_id)
        self.seen.append((kind, stream_id, 0 if state is None else state.version))
        found: S | None = state
        return found

    def outdated(self) -> list[Stream]:
        """Streams that it saw and that must be read before they can be decided on again."""
        streams = [(kind, stream_id) for kind, stream_id, _ in self.seen]
        return [stream for stream in streams if self._cache.find(*stream) is None]

    def saw(self, stream_id: UUID, state: StreamState | None) -> bool:
        version = 0 if state is None else state.version
        return all(seen == version for _, other, seen in self.seen if other == stream_id)


class StoredStates:
    """States as they are stored, read in a thread. From a state in memory it reads on, so that
    older events are not read again."""

    def __init__(self, application: LedgerApplication, cache: StateCache) -> None:
        self._application = application
        self._cache = cache
        self.loaded: list[tuple[StreamKind[Any], StreamState]] = []

    def load(self, kind: StreamKind[S], stream_id: UUID) -> S | None:
        known = cast("S | None", self._cache.stored_state(kind, stream_id))
        state = self._application.load(kind, stream_id, known)
        if state is not None:
            self.loaded.append((kind, state))
        return state
