"""How far the read models are, for everybody in this process who waits for it."""

import asyncio


class PositionBoard:
    """The projector writes to it, in the event loop of those who read it.

    position: every projection holds every event up to here. leading: whether this process's
    projector is the one that writes the read models; then no other process is further than this.
    """

    def __init__(self) -> None:
        self.position = 0
        self.leading = False
        self._waiting: set[asyncio.Future[None]] = set()

    def announce(self, position: int) -> None:
        self.position = position
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def wait_for(self, position: int, timeout_s: float) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while self.position < position:
            left_s = deadline - loop.time()
            if left_s <= 0:
                return False
            future = loop.create_future()
            self._waiting.add(future)
            try:
                async with asyncio.timeout(left_s):
                    await future
            except TimeoutError:
                return False
            finally:
                self._waiting.discard(future)
        return True
