from dataclasses import dataclass

import pytest

from infrastructure.onnx.fair_queue import FairQueue


@dataclass(frozen=True)
class Ask:
    owner: str
    number: int = 0


def _none_running(_: str) -> int:
    return 0


def _queue(*asks: Ask) -> FairQueue[Ask]:
    queue: FairQueue[Ask] = FairQueue()
    for ask in asks:
        queue.put(ask)
    return queue


def _owners(queue: FairQueue[Ask]) -> str:
    return "".join(queue.take(_none_running).owner for _ in range(len(queue)))


def test_owners_take_turns_however_many_one_of_them_asked_first() -> None:
    queue = _queue(*(Ask("a", number) for number in range(5)), Ask("b"), Ask("c"), Ask("b", 1))
    assert _owners(queue) == "abcabaaa"


def test_one_owners_asks_keep_their_order() -> None:
    queue = _queue(*(Ask("a", number) for number in range(4)))
    assert [queue.take(_none_running).number for _ in range(4)] == [0, 1, 2, 3]


def test_who_has_fewer_running_comes_first() -> None:
    queue = _queue(Ask("a"), Ask("b"), Ask("c"))
    running = {"a": 2, "b": 1, "c": 1}
    assert queue.take(running.__getitem__).owner == "b"
    assert queue.take(running.__getitem__).owner == "c"


def test_what_is_removed_is_never_taken() -> None:
    queue = _queue(Ask("a", 0), Ask("a", 1), Ask("b"))
    assert queue.remove(Ask("a", 0))
    assert not queue.remove(Ask("a", 0))
    assert not queue.remove(Ask("z"))
    assert [queue.take(_none_running) for _ in range(len(queue))] == [Ask("a", 1), Ask("b")]


def test_an_empty_queue_has_nothing_to_take() -> None:
    with pytest.raises(IndexError):
        _queue().take(_none_running)
