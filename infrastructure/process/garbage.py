"""Python's cyclic garbage collector, for a process that keeps much and makes few cycles.

By default it walks everything that is alive whenever that has grown by a quarter: with a few
thousand folded states and the service's modules that was a pause of 100 to 400 ms, in which no
command was answered. States and events hold no cycles; reference counts free them.

The collector counts allocations less deallocations. Where new states replace old ones, that count
hardly grows, so hundreds of thousands of young objects gather before all are looked at together:
that was the slowest hundredth of all settlements. So they are also looked at after a number of
commits.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# Allocations between two collections of the young generation, and how many collections of each
# generation come before one of the next older.
_THRESHOLDS = (20_000, 100, 50)
# Commits between two collections of the young generation. A commit leaves some 12 to 40 objects,
# and a collection takes 0.1 to 0.2 ms for a thousand of them. More collections would cost more in
# all, because each looks again at what is under way; fewer would make each pause longer.
_COMMITS = 1024


def collect_seldom() -> None:
    """What is loaded now is never looked at again, and what is made later only seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


class YoungGarbage:
    """Collects the young generation after every _COMMITS commits."""

    def __init__(self) -> None:
        self._commits = 0

    def committed(self, commits: int) -> None:
        self._commits += commits
        if self._commits >= _COMMITS and gc.isenabled():
            self._commits = 0
            gc.collect(0)


@contextmanager
def collection_paused() -> Iterator[None]:
    """For work that makes many objects and no cycles."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
