"""Work on passwords waits in turn, within bounds."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from application.ports import OPERATOR, PasswordsBusy, PasswordTurn
from infrastructure.identity.password_queue import PasswordLimits, PasswordQueue, background_threads
from infrastructure.process.clock_ids import TimeOrderedIds


def stranger(owner: str) -> PasswordTurn:
    return PasswordTurn(owner=owner, known=False)


class Desk:
    """A queue whose only thread works on one thing until it is let go on."""

    def __init__(self, **limits: float) -> None:
        self.now_s = 0.0
        bounds = {"threads": 1, "waiting_max": 4, "owner_waiting_max": 2, "wait_s_max": 20.0}
        self.queue = PasswordQueue(
            PasswordLimits(**(bounds | limits)),  # type: ignore[arg-type]
            clock=lambda: self.now_s,
        )
        self.threads = ThreadPoolExecutor(8)
        self.done: list[str] = []
        self.at_once = self.at_once_max = 0
        self._go_on = threading.Semaphore(0)
        self._counting = threading.Lock()

    def work(self, name: str) -> str:
        with self._counting:
            self.at_once += 1
            self.at_once_max = max(self.at_once_max, self.at_once)
        assert self._go_on.acquire(timeout=20)
        with self._counting:
            self.at_once -= 1
            self.done.append(name)
        return name

    async def ask(self, name: str, turn: PasswordTurn | None = None) -> "asyncio.Task[str]":
        """Returns when it has its place or was refused."""
        turn = turn or stranger(name)
        task = asyncio.create_task(self.queue.run(turn, self.threads, self.work, name))
        await asyncio.sleep(0)
        return task

    def go_on(self, count: int) -> None:
        self._go_on.release(count)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    yield desk
    desk.go_on(100)
    desk.threads.shutdown()


async def test_no_more_than_its_threads_work_at_once_and_everybody_gets_what_they_asked_for(
    desk: Desk,
) -> None:
    tasks = [await desk.ask(name) for name in "abcde"]
    desk.go_on(5)

    assert await asyncio.gather(*tasks) == list("abcde")
    assert desk.at_once_max == 1
    assert desk.queue.waiting == 0


async def test_a_caller_who_finds_the_queue_full_is_told_to_come_back(desk: Desk) -> None:
    tasks = [await desk.ask(name) for name in "abcde"]

    refused = await desk.ask("f")

    with pytest.raises(PasswordsBusy) as refusal:
        await refused
    assert refusal.value.retry_after_s == 20
    desk.go_on(5)
    await asyncio.gather(*tasks)


async def test_one_address_cannot_fill_the_queue_and_others_do_not_wait_behind_it(
    desk: Desk,
) -> None:
    flood = [await desk.ask(f"flood{number}", stranger("flood")) for number in range(60)]
    honest = await desk.ask("honest")
    desk.go_on(100)

    assert await honest == "honest"
    outcomes = await asyncio.gather(*flood, return_exceptions=True)
    assert sum(isinstance(outcome, PasswordsBusy) for outcome in outcomes) == 57
    assert desk.done.index("honest") <= 2, "at most one of the flood's came before"


async def test_people_at_known_addresses_are_not_refused_because_of_many_strangers(
    desk: Desk,
) -> None:
    strangers = [await desk.ask(name) for name in "abcde"]
    known = await desk.ask("known", PasswordTurn(owner="known", known=True))
    desk.go_on(6)

    await asyncio.gather(*strangers, known)
    assert desk.done == ["a", "known", *"bcde"]


def regular(address: str) -> PasswordTurn:
    """Somebody who has signed in from there before."""
    return PasswordTurn(owner=address, known=True, account=TimeOrderedIds().new_id())


async def test_one_address_with_many_accounts_shuts_out_neither_strangers_nor_people_who_are_known(
    desk: Desk,
) -> None:
    flood = [await desk.ask(f"flood{number}", regular("flood")) for number in range(60)]
    stranger_elsewhere = await desk.ask("stranger")
    known_elsewhere = await desk.ask("known", regular("elsewhere"))
    desk.go_on(100)

    assert await stranger_elsewhere == "stranger"
    assert await known_elsewhere == "known"
    outcomes = await asyncio.gather(*flood, return_exceptions=True)
    assert sum(isinstance(outcome, PasswordsBusy) for outcome in outcomes) == 56
    assert desk.done[1] == "stranger"
    assert desk.done.index("known") <= 3


async def test_one_person_leaves_places_to_the_others_at_their_address(desk: Desk) -> None:
    turn = regular("office")
    mine = [await desk.ask(f"mine{number}", turn) for number in range(9)]
    theirs = await desk.ask("theirs", regular("office"))
    desk.go_on(20)

    assert await theirs == "theirs"
    outcomes = await asyncio.gather(*mine, return_exceptions=True)
    assert sum(isinstance(outcome, PasswordsBusy) for outcome in outcomes) == 6


class Hand(Executor):
    """Its work is done when a test says so."""

    def __init__(self) -> None:
        self.works: list[Future[Any]] = []

    def submit(self, *_: Any, **__: Any) -> "Future[Any]":
        self.works.append(Future())
        return self.works[-1]


async def test_a_caller_who_gives_up_as_their_turn_comes_leaves_it_to_the_next(desk: Desk) -> None:
    hand = Hand()
    broken: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: broken.append(context))

    async def ask(name: str) -> "asyncio.Task[None]":
        task = asyncio.create_task(desk.queue.run(stranger(name), hand, print))
        await asyncio.sleep(0)
        return task

    first, second, third = [await ask(name) for name in "abc"]
    hand.works[0].set_result(None)
    await asyncio.sleep(0)
    second.cancel()
    await first
    with suppress(asyncio.CancelledError):
        await second
    hand.works[1].set_result(None)

    await third
    assert desk.queue.waiting == 0
    fourth = await ask("d")
    hand.works[2].set_result(None)
    await fourth
    assert broken == []


async def test_a_caller_who_waits_too_long_is_told_to_come_back_and_leaves_no_trace() -> None:
    desk = Desk(wait_s_max=0.05)
    first = await desk.ask("first")
    late = await desk.ask("late")

    with pytest.raises(PasswordsBusy):
        await late
    desk.go_on(2)
    assert await first == "first"
    assert await (await desk.ask("after")) == "after"
    assert desk.done == ["first", "after"]
    desk.threads.shutdown()


async def test_work_that_nobody_waits_for_any_more_holds_its_place_until_it_is_done(
    desk: Desk,
) -> None:
    first = await desk.ask("first")
    second = await desk.ask("second")
    third = await desk.ask("third")
    await asyncio.sleep(0)
    for task in (first, second):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    desk.go_on(2)

    assert await third == "third"
    assert desk.done == ["first", "third"]
    assert desk.at_once_max == 1


async def test_work_that_fails_gives_its_place_back(desk: Desk) -> None:
    def fail() -> None:
        raise ValueError("broken")

    for _ in range(3):
        with pytest.raises(ValueError, match="broken"):
            await desk.queue.run(OPERATOR, desk.threads, fail)


async def test_strangers_have_a_budget_for_a_minute_and_people_who_are_known_do_not() -> None:
    desk = Desk(strangers_per_minute=2)
    desk.go_on(10)
    for name in "ab":
        await (await desk.ask(name))
        desk.now_s += 10

    with pytest.raises(PasswordsBusy) as refusal:
        await (await desk.ask("c"))

    assert refusal.value.retry_after_s == 40
    known = PasswordTurn(owner="known", known=True)
    assert await (await desk.ask("known", known)) == "known"
    desk.now_s += 40
    assert await (await desk.ask("c")) == "c"
    desk.threads.shutdown()


async def test_a_caller_who_is_refused_a_place_does_not_use_up_the_budget() -> None:
    desk = Desk(strangers_per_minute=6)
    tasks = [await desk.ask(f"a{number}", stranger("a")) for number in range(100)]
    desk.go_on(100)
    await asyncio.gather(*tasks, return_exceptions=True)

    assert await (await desk.ask("b")) == "b"
    desk.threads.shutdown()


def test_threads_of_the_background_work() -> None:
    with background_threads(2, "background") as threads:
        assert threads.submit(threading.current_thread).result().name.startswith("background")
