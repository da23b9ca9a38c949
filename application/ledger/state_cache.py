"""Folded states in memory: the last committed ones, and above them what is on its way.

Everything here happens in the event loop, in steps that nothing can interrupt.

- The state of a stream is that after the last commit submitted for it by this process
  (uncommitted, with the commit that made it), or else the last one known to be stored.
- Whoever decides on an uncommitted state builds on its commit: the `after` of its own.
- When a commit is stored, its states become stored ones. When it fails, they are gone at once,
  and the stream goes back to what is known to be stored; after a conflict that is outdated, and
  must be read again before anybody decides on it.
- Another process may have written meanwhile, so a stored state may be behind. A commit that was
  decided on such a state is refused: its rows meet the primary key, and the versions that it read
  are checked together with it.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from application.ledger.commits import Commit
from application.ledger.streams import StreamKind, StreamState


class Entry:
    """stored: the last state that is known to be stored. state: the newest one. commit: what is
    on its way with `state`; None where `state` is the stored one."""

    __slots__ = ("commit", "is_outdated", "kind", "state", "stored")

    def __init__(self, kind: StreamKind[Any], stored: StreamState | None) -> None:
        self.kind = kind
        self.stored = stored
        self.state = stored
        self.commit: Commit | None = None
        self.is_outdated = False


class StateCache:
    """entries_max: streams that are kept; those with a commit on its way are never dropped.

    Entries are found by the integers of their streams' ids, which hash faster than UUIDs.
    """

    def __init__(self, entries_max: int) -> None:
        self._entries_max = entries_max
        self._entries: OrderedDict[int, Entry] = OrderedDict()

    def find(self, kind: StreamKind[Any], stream_id: UUID) -> Entry | None:
        """With a state of this kind that can be decided on."""
        key = stream_id.int
        entry = self._entries.get(key)
        if entry is None or entry.is_outdated or entry.kind is not kind:
            return None
        self._entries.move_to_end(key)
        return entry

    def stored_state(self, kind: StreamKind[Any], stream_id: UUID) -> StreamState | None:
        """A state that was stored at some time, to read on from."""
        entry = self._entries.get(stream_id.int)
        return entry.stored if entry is not None and entry.kind is kind else None

    def loaded(self, kind: StreamKind[Any], state: StreamState) -> None:
        """What was read from the store; it may come late, and then changes nothing."""
        entry = self._entries.get(state.id.int)
        if entry is None:
            self._add(state.id, Entry(kind, state))
        elif entry.stored is None or entry.stored.version < state.version:
            entry.stored = state
            if entry.commit is None:
                entry.kind, entry.state, entry.is_outdated = kind, state, False
        elif entry.is_outdated and entry.stored.version == state.version:
            # Read again, and found to be the newest after all.
            entry.is_outdated = False

    def submitted(self, commit: Commit, kind: StreamKind[Any], state: StreamState) -> None:
        entry = self._entries.get(state.id.int)
        if entry is None:
            entry = Entry(kind, None)
            self._add(state.id, entry)
        entry.kind, entry.state, entry.commit = kind, state, commit
        entry.is_outdated = False

    def stored(self, commit: Commit, state: StreamState) -> None:
        entry = self._entries.get(state.id.int)
        if entry is None:
            return
        if entry.stored is None or entry.stored.version < state.version:
            entry.stored = state
        if entry.commit is commit:
            entry.state, entry.commit, entry.is_outdated = entry.stored, None, False
            if len(self._entries) > self._entries_max:
                self._trim()

    def failed(self, commit: Commit, stream_ids: Iterable[UUID]) -> None:
        for stream_id in stream_ids:
            entry = self._entries.get(stream_id.int)
            if entry is not None and entry.commit is commit:
                entry.state, entry.commit = entry.stored, None
                if entry.stored is None:
                    del self._entries[stream_id.int]

    def conflicted(self, written: Iterable[UUID], read: Iterable[UUID]) -> None:
        """Another process has written to one of these streams, so their states have to be read
        again. A stream that was only read may have a commit of its own under way: that one meets
        the same conflict, or shows that the state is the newest."""
        for stream_id in written:
            if (entry := self._entries.get(stream_id.int)) is not None:
                entry.is_outdated = True
        for stream_id in read:
            entry = self._entries.get(stream_id.int)
            if entry is not None and entry.commit is None:
                entry.is_outdated = True

    def _add(self, stream_id: UUID, entry: Entry) -> None:
        self._entries[stream_id.int] = entry
        if len(self._entries) > self._entries_max:
            self._trim()

    def _trim(self) -> None:
        for _ in range(len(self._entries) - self._entries_max):
            oldest = next(iter(self._entries))
            if self._entries[oldest].commit is None:
                del self._entries[oldest]
            else:
                self._entries.move_to_end(oldest)
