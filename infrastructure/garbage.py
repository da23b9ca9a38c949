"""Python's cyclic garbage collector, for a process that keeps much and makes few cycles.

By default it walks everything that is alive whenever that has grown by a quarter: with a few
thousand folded states and the service's modules that was a pause of 100 to 400 ms, in which no
command was answered. States and events hold no cycles; reference counts free them.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# Allocations between collections of the young, and how many of those between the older ones.
_THRESHOLDS = (20_000, 20, 50)


def collect_seldom() -> None:
    """What is loaded now is never looked at again; what comes later, seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


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
