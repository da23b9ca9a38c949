"""From the commit of a hold to the run that will settle it, whoever goes away meanwhile."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from application.chat.run import ChatRun, Started
from application.ledger.ledger import Committed

Begin = Callable[[Committed[Started]], ChatRun]


class Openings:
    """Commits of holds that are under way. A request can be cancelled at any moment, and its commit
    is then on its way all the same: only a run would ever let go of what it holds."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Future[None]] = set()

    async def run(self, commit: Coroutine[Any, Any, Committed[Started]], begin: Begin) -> ChatRun:
        """Raises what the commit raises."""
        begun = asyncio.get_running_loop().create_future()
        self._under_way.add(begun)
        committing = asyncio.create_task(commit)
        try:
            run = begin(await asyncio.shield(committing))
        except asyncio.CancelledError:
            committing.add_done_callback(partial(self._abandon, begin, begun))
            raise
        except BaseException:
            self._leave(begun)
            raise
        self._leave(begun)
        return run

    async def all_begun(self) -> None:
        """Returns when each commit has come to its run or to nothing."""
        if self._under_way:
            await asyncio.wait(list(self._under_way))

    def _abandon(
        self,
        begin: Begin,
        begun: asyncio.Future[None],
        committing: asyncio.Task[Committed[Started]],
    ) -> None:
        try:
            if not committing.cancelled() and committing.exception() is None:
                begin(committing.result()).cancel()
        finally:
            # Or whoever closes would wait for ever.
            self._leave(begun)

    def _leave(self, begun: asyncio.Future[None]) -> None:
        self._under_way.discard(begun)
        begun.set_result(None)
