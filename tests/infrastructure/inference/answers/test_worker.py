"""A model's thread: its bounded queue, turns, deadlines and end; and turns among models."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from application.chat.inference import Completion, Delta
from application.chat.inference_errors import (
    EngineBusy,
    GenerationTimedOut,
    InferenceError,
    OwnerBusy,
)
from infrastructure.inference.answers.batch import Batch
from infrastructure.inference.answers.generation import LoadedModel
from infrastructure.inference.answers.jobs import Job, Outbox
from infrastructure.inference.answers.prefix_cache import PrefixCache
from infrastructure.inference.answers.turnstile import Turnstile
from infrastructure.inference.answers.worker import ModelWorker, QueueLimits, WorkerClosed
from tests.infrastructure.inference.stepping import request_of
from tests.infrastructure.inference.tiny import prepare_tiny, tiny_batch

WAIT_S = 10.0
LONG = 900


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    models_dir = tmp_path_factory.mktemp("models")
    prepare_tiny(models_dir)
    return tiny_batch(models_dir / "gemma3-270m", rows_max=2)


@pytest.fixture
async def worker(model: LoadedModel) -> AsyncIterator[ModelWorker]:
    outbox = Outbox()
    batch = Batch(model, PrefixCache(model.chunks, bytes_max=0), outbox)
    limits = QueueLimits(waiting_max=3, waiting_each_max=2, rows_each_max=2)
    worker = ModelWorker(batch, outbox, Turnstile(), limits)
    worker.start()
    yield worker
    await asyncio.to_thread(worker.close, WAIT_S)


def _job(model: LoadedModel, *, owner: str = "", tokens: int = LONG, timeout_s: float = 60) -> Job:
    return Job(request_of(model, max_tokens=tokens, owner=owner), timeout_s=timeout_s)


async def _end(job: Job) -> Completion | InferenceError:
    async with asyncio.timeout(WAIT_S):
        while isinstance(item := await job.items.get(), Delta):
            pass
    return item


async def _fill(worker: ModelWorker, model: LoadedModel) -> list[Job]:
    """Starts two long answers."""
    running = [_job(model, owner="a") for _ in range(2)]
    for job in running:
        worker.submit(job)
    for job in running:
        assert isinstance(await job.items.get(), Delta)
    return running


async def test_a_request_beyond_rows_and_queue_is_refused_with_when_to_come_back(
    worker: ModelWorker, model: LoadedModel
) -> None:
    jobs = {owner: _job(model, owner=owner) for owner in "abcde"}
    for job in jobs.values():
        worker.submit(job)
    for refused in (worker.check_room, lambda owner: worker.submit(_job(model, owner=owner))):
        with pytest.raises(EngineBusy) as caught:
            refused("f")
        assert 1 <= caught.value.retry_after_s <= 60
        assert not isinstance(caught.value, OwnerBusy)
    worker.withdraw(jobs["e"])
    worker.check_room("f")
    worker.submit(_job(model, owner="f"))


async def test_one_owner_gets_only_some_of_the_places_and_is_refused_more(
    worker: ModelWorker, model: LoadedModel
) -> None:
    await _fill(worker, model)
    waiting = [_job(model, owner="a") for _ in range(2)]
    for job in waiting:
        worker.submit(job)
    with pytest.raises(OwnerBusy, match="4 of your messages"):
        worker.check_room("a")
    with pytest.raises(OwnerBusy):
        worker.submit(_job(model, owner="a"))
    worker.check_room("b")
    worker.withdraw(waiting[0])
    worker.check_room("a")


async def test_in_a_full_queue_the_newest_request_of_the_owner_with_most_gives_way(
    worker: ModelWorker, model: LoadedModel
) -> None:
    await _fill(worker, model)
    crowd = [_job(model, owner="a") for _ in range(2)]
    others = {owner: _job(model, owner=owner) for owner in "bcd"}
    for job in (*crowd, *others.values()):
        worker.submit(job)
    displaced = [await _end(job) for job in reversed(crowd)]
    assert all(isinstance(end, EngineBusy) for end in displaced)
    assert not any(job.items.qsize() for job in others.values())
    with pytest.raises(EngineBusy):
        worker.check_room("b")


async def test_one_owner_never_has_every_row(model: LoadedModel) -> None:
    outbox = Outbox()
    batch = Batch(model, PrefixCache(model.chunks, bytes_max=0), outbox)
    limits = QueueLimits(waiting_max=3, waiting_each_max=2)
    worker = ModelWorker(batch, outbox, Turnstile(), limits)
    worker.start()
    first, second, other = (_job(model, owner=owner) for owner in "aab")
    try:
        worker.submit(first)
        worker.submit(second)
        assert isinstance(await first.items.get(), Delta)
        worker.submit(other)
        async with asyncio.timeout(WAIT_S):
            assert isinstance(await other.items.get(), Delta)
        assert second.items.empty()
        assert (worker.running, worker.waiting) == (2, 1)
        worker.withdraw(first)
        async with asyncio.timeout(WAIT_S):
            assert isinstance(await second.items.get(), Delta)
    finally:
        await asyncio.to_thread(worker.close, WAIT_S)


async def test_the_meter_counts_what_the_model_read_and_nothing_for_those_who_left_while_waiting(
    worker: ModelWorker, model: LoadedModel
) -> None:
    running = await _fill(worker, model)
    waiting = _job(model, owner="b")
    worker.submit(waiting)
    worker.withdraw(waiting)
    worker.withdraw(running[0])
    after = _job(model, owner="b", tokens=1)
    worker.submit(after)
    await _end(after)
    read = [job.meter.prompt_tokens_read for job in (running[0], waiting, after)]
    assert read == [len(after.request.prompt.token_ids), 0, len(after.request.prompt.token_ids)]


async def test_one_request_does_not_wait_behind_all_of_an_owner_who_has_many(
    worker: ModelWorker, model: LoadedModel
) -> None:
    running = await _fill(worker, model)
    jobs = {"often": _job(model, owner="a", tokens=5), "more often": _job(model, owner="a")}
    jobs["once"] = _job(model, owner="b", tokens=5)
    order: list[str] = []

    async def first_item(name: str) -> None:
        await jobs[name].items.get()
        order.append(name)

    for job in jobs.values():
        worker.submit(job)
    worker.withdraw(running[0])
    async with asyncio.timeout(WAIT_S):
        await asyncio.gather(*map(first_item, jobs))
    assert order == ["once", "often", "more often"]


async def test_waiting_counts_towards_the_deadline(worker: ModelWorker, model: LoadedModel) -> None:
    await _fill(worker, model)
    late = _job(model, timeout_s=0)
    worker.submit(late)
    assert isinstance(await _end(late), GenerationTimedOut)


async def test_a_deadline_ends_an_answer_under_way(worker: ModelWorker, model: LoadedModel) -> None:
    late = _job(model)
    worker.submit(late)
    assert isinstance(await late.items.get(), Delta)
    late.deadline = 0.0
    assert isinstance(await _end(late), GenerationTimedOut)


async def test_closing_ends_what_runs_and_what_waits_and_refuses_what_comes(
    worker: ModelWorker, model: LoadedModel
) -> None:
    jobs = [*await _fill(worker, model), _job(model)]
    worker.submit(jobs[-1])
    await asyncio.to_thread(worker.close, WAIT_S)
    for job in jobs:
        assert "closing" in str(await _end(job))
    with pytest.raises(WorkerClosed, match="closed"):
        worker.submit(_job(model))


async def test_a_worker_in_use_is_not_closed_and_an_idle_one_is(
    worker: ModelWorker, model: LoadedModel
) -> None:
    running = await _fill(worker, model)
    assert not worker.close_if_idle()
    for job in running:
        worker.withdraw(job)
    short = _job(model, tokens=1)
    worker.submit(short)
    await _end(short)
    async with asyncio.timeout(WAIT_S):
        while not worker.close_if_idle():  # noqa: ASYNC110  the thread sets no event
            await asyncio.sleep(0)
    with pytest.raises(WorkerClosed):
        worker.submit(_job(model))


async def test_a_request_that_cannot_be_answered_is_told_so_and_the_next_one_is_answered(
    worker: ModelWorker, model: LoadedModel
) -> None:
    bad = Job(replace(request_of(model), max_tokens=0), timeout_s=60)
    worker.submit(bad)
    assert "at least 1" in str(await _end(bad))
    good = _job(model, tokens=3)
    worker.submit(good)
    assert isinstance(await _end(good), Completion)


def test_a_turnstile_lets_in_one_at_a_time_and_in_order_of_arrival() -> None:
    turnstile, order = Turnstile(), list[int]()

    def enter(number: int) -> None:
        with turnstile:
            order.append(number)

    with turnstile:
        threads = []
        for number in range(5):
            threads.append(threading.Thread(target=enter, args=(number,)))
            threads[-1].start()
            while turnstile.waiting <= number:
                pass
        assert order == []
    for thread in threads:
        thread.join(WAIT_S)
    assert order == [0, 1, 2, 3, 4]
