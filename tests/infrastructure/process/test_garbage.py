"""The collector of cyclic garbage looks at the young after so many commits, and at nothing else."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from infrastructure.process.garbage import YoungGarbage, collection_paused


@pytest.fixture
def collections() -> Iterator[list[int]]:
    """The generations that are collected; nothing is by itself."""
    generations: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            generations.append(info["generation"])

    with thresholds(0, 0, 0):
        gc.callbacks.append(note)
        yield generations
        gc.callbacks.remove(note)


@contextmanager
def thresholds(*wanted: int) -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(*wanted)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def test_the_young_are_looked_at_after_so_many_commits(collections: list[int]) -> None:
    garbage = YoungGarbage()
    for _ in range(1023):
        garbage.committed(1)
    assert collections == []
    garbage.committed(1)
    assert collections == [0]
    garbage.committed(512)
    garbage.committed(511)
    assert collections == [0]
    garbage.committed(500)
    assert collections == [0, 0]


def test_nobody_looks_while_collection_is_paused(collections: list[int]) -> None:
    garbage = YoungGarbage()
    with collection_paused():
        garbage.committed(5000)
    assert collections == []
