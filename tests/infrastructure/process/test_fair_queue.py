from dataclasses import dataclass

import pytest

from infrastructure.process.fair_queue import FairQueue


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


def test_the_owner_with_fewer_running_comes_first() -> None:
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
    assert _queue().take_within(_none_running, each_max=9) is None


def test_an_owner_at_the_limit_waits_until_one_of_theirs_ends() -> None:
    queue = _queue(Ask("a"), Ask("b"))
    running = {"a": 2, "b": 2}
    assert queue.take_within(running.__getitem__, each_max=2) is None
    running["b"] = 1
    assert queue.take_within(running.__getitem__, each_max=2) == Ask("b")
    assert queue.take_within(running.__getitem__, each_max=2) is None
    assert len(queue) == 1


def test_the_newest_of_the_owner_with_most_running_and_waiting_leaves_first() -> None:
    queue = _queue(Ask("a", 0), Ask("a", 1), Ask("b", 0), Ask("c", 0))
    running = {"a": 0, "b": 2, "c": 0}
    assert queue.busiest(running.__getitem__) == ("b", 3)
    assert queue.newest("b") == Ask("b", 0)
    assert queue.busiest(running.__getitem__) == ("a", 2)
    assert queue.newest("a") == Ask("a", 1)
    assert (queue.of("a"), queue.of("b"), len(queue)) == (1, 0, 2)
