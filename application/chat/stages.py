"""Where the time of one command went."""

import time


class Stages:
    """Milliseconds of named stages, in the order in which they ended."""

    def __init__(self) -> None:
        self._last_s = self._began_s = time.perf_counter()
        self.spent_ms: dict[str, float] = {}

    @property
    def elapsed_ms(self) -> int:
        """Since the beginning, on the monotonic clock."""
        return int((time.perf_counter() - self._began_s) * 1000)

    def end(self, stage: str) -> None:
        """The stage has lasted since the one before it ended."""
        now_s = time.perf_counter()
        self.spent_ms[stage] = (now_s - self._last_s) * 1000
        self._last_s = now_s

    def note(self, **spent_ms: float) -> None:
        """Parts of a stage, which were measured elsewhere."""
        self.spent_ms.update(spent_ms)
