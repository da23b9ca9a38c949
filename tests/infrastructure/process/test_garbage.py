"""The garbage collector runs by the number of commits, and not by itself."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from infrastructure.process.garbage import YoungGarbage, collection_paused


@pytest.fixture
def collections() -> Iterator[list[int]]:
    """The generations that are collected while the collector does not run by itself."""
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


def test_young_objects_are_collected_after_a_number_of_commits(collections: list[int]) -> None:
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


def test_nothing_is_collected_while_collection_is_paused(collections: list[int]) -> None:
    garbage = YoungGarbage()
    with collection_paused():
        garbage.committed(5000)
    assert collections == []
