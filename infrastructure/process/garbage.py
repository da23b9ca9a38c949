"""Python's cyclic garbage collector, for a process that keeps much and makes few cycles.

By default it walks everything that is alive whenever that has grown by a quarter: with a few
thousand folded states and the service's modules that was a pause of 100 to 400 ms, in which no
command was answered. States and events hold no cycles; reference counts free them.

It counts what is made less what is freed. Where new states take the place of old ones that hardly
grows, and the young are not looked at until there are hundreds of thousands of them, all at once:
that was the slowest hundredth of all settlements. So they are also looked at after so many commits.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# Allocations between collections of the young, and how many of those between the older ones.
_THRESHOLDS = (20_000, 100, 50)
# Between collections of the young. A commit leaves a dozen to some forty objects, of which a
# thousand take 0.1 to 0.2 ms, and what is under way is looked at each time: more often costs more,
# more seldom takes longer at once.
_COMMITS = 1024


def collect_seldom() -> None:
    """What is loaded now is never looked at again; what comes later, seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


class YoungGarbage:
    """Looks at what some commits have left, so that it never becomes much."""

    def __init__(self) -> None:
        self._commits = 0

    def committed(self, commits: int) -> None:
        self._commits += commits
        if self._commits >= _COMMITS and gc.isenabled():
            self._commits = 0
            gc.collect(0)


@contextmanager
def collection_paused() -> Iterator[None]:
    """For a stretch of work that makes many objects and no cycles."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
