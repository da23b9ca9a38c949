"""What the page needs to know and change inside Gradio's queue, which has no public way for it.

Nothing else reaches into Gradio; a test holds what is relied on here.
"""

import asyncio
import sys
from collections.abc import Collection
from typing import Any

from interfaces.ui.client.settings import UiSettings

# Nothing on this page reports progress, so this only has to end when the process does.
_PROGRESS_INTERVAL_S = 1.0
# A model's name or a conversation's id; text boxes say themselves how much they take.
_CHOICE_CHARS_MAX = 200


class GradioQueue:
    """The queue of one ``gr.Blocks``."""

    def __init__(self, blocks: Any, settings: UiSettings) -> None:
        self._blocks = blocks
        self._settings = settings
        self._calming: asyncio.TimerHandle | None = None

    def prepare(self) -> None:
        """Let an idle process sleep, and do no work for a page that is not served."""
        queue = self._blocks._queue
        queue.sleep_when_free = self._settings.queue_idle_interval_s
        queue.progress_update_sleep_when_free = _PROGRESS_INTERVAL_S
        # After every event Gradio would summarise all events with pandas.
        queue.ANAYLTICS_CACHE_FREQUENCY = sys.maxsize
        # The page bounds its tabs itself; here one too many would take the updates of another.
        queue.pending_messages_per_session.max_size = sys.maxsize

    def stir(self) -> None:
        """An event comes: look for events often, for a while."""
        if self._calming is not None:
            self._calming.cancel()
        self._blocks._queue.sleep_when_free = self._settings.queue_busy_interval_s
        self._calming = asyncio.get_running_loop().call_later(
            self._settings.queue_busy_s, self._calm
        )

    def _calm(self) -> None:
        self._blocks._queue.sleep_when_free = self._settings.queue_idle_interval_s

    def inputs_of_events(self) -> dict[int, tuple[int, ...]]:
        """How many characters each value of an event may have, for every event that a browser may
        send, by its ``fn_index``. Gradio keeps the values, so long ones would take memory."""
        return {
            index: tuple(getattr(one, "max_length", None) or _CHOICE_CHARS_MAX for one in fn.inputs)
            for index, fn in self._blocks.fns.items()
            if fn.fn is not None and all(event != "unload" for _, event in fn.targets)
        }

    def count_events(self, session_hashes: Collection[str]) -> int:
        """Events of these tabs that wait or run."""
        events = self._blocks._queue.event_ids_to_events.values()
        return sum(event.session_hash in session_hashes for event in events)

    def count_unread(self, session_hash: str) -> int:
        """Updates that wait to be fetched by the tab."""
        messages = self._blocks._queue.pending_messages_per_session.get(session_hash)
        return messages.qsize() if messages is not None else 0

    def has_updates(self, session_hash: str) -> bool:
        """Whether the tab has sent an event whose updates it can fetch."""
        return session_hash in self._blocks._queue.pending_messages_per_session

    def forget(self, session_hash: str) -> None:
        """Drop all that Gradio keeps for a tab. What still runs for it speaks to nobody."""
        queue, states = self._blocks._queue, self._blocks.state_holder
        for job in queue.active_jobs:
            for event in job or ():
                if event.session_hash == session_hash:
                    event.alive = False
        for waiting in queue.event_queue_per_concurrency_id.values():
            for event in [one for one in waiting.queue if one.session_hash == session_hash]:
                waiting.queue.remove(event)
                queue.event_ids_to_events.pop(event._id, None)
        queue.pending_messages_per_session.pop(session_hash, None)
        queue.pending_event_ids_session.pop(session_hash, None)
        states.session_data.pop(session_hash, None)
        states.time_last_used.pop(session_hash, None)
