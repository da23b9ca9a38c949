import threading
from collections.abc import Iterator

import pytest

from application.inference import EngineBusy, InferenceError
from infrastructure.onnx.worker import InferenceWorker, Job

WAIT_S = 10.0


class HeldJob:
    """Runs until `release` is set; says when it started and how it ended."""

    def __init__(self, log: list[str], name: str, *, breaks: bool = False) -> None:
        self._log = log
        self._name = name
        self._breaks = breaks
        self.started = threading.Event()
        self.release = threading.Event()
        self.ended = threading.Event()

    def run(self) -> None:
        self.started.set()
        assert self.release.wait(WAIT_S)
        self._log.append(self._name)
        self.ended.set()
        if self._breaks:
            raise ZeroDivisionError

    def fail(self, error: InferenceError) -> None:
        self._log.append(f"{self._name} failed: {error}")
        self.ended.set()


def _release(job: Job) -> None:
    assert isinstance(job, HeldJob)
    job.release.set()


@pytest.fixture
def worker() -> Iterator[InferenceWorker]:
    worker = InferenceWorker(queue_max=2)
    yield worker
    worker.close(_release, WAIT_S)


def test_jobs_run_in_order_of_arrival_and_one_beyond_the_bound_is_refused(
    worker: InferenceWorker,
) -> None:
    log: list[str] = []
    jobs = [HeldJob(log, name) for name in "abc"]
    worker.submit(jobs[0])
    assert jobs[0].started.wait(WAIT_S)
    worker.submit(jobs[1])
    worker.submit(jobs[2])
    with pytest.raises(EngineBusy) as caught:
        worker.submit(HeldJob(log, "d"))
    assert 1 <= caught.value.retry_after_s <= 60
    for job in jobs:
        job.release.set()
    assert jobs[2].ended.wait(WAIT_S)
    assert log == ["a", "b", "c"]


def test_a_withdrawn_job_frees_its_place_and_never_runs(worker: InferenceWorker) -> None:
    log: list[str] = []
    first, second, third, fourth = (HeldJob(log, name) for name in "abcd")
    worker.submit(first)
    assert first.started.wait(WAIT_S)
    worker.submit(second)
    worker.submit(third)
    worker.withdraw(second)
    worker.submit(fourth)
    for job in (first, third, fourth):
        job.release.set()
    assert fourth.ended.wait(WAIT_S)
    assert log == ["a", "c", "d"]
    worker.withdraw(first)


def test_a_job_that_breaks_off_does_not_stop_the_next(worker: InferenceWorker) -> None:
    log: list[str] = []
    bad, good = HeldJob(log, "bad", breaks=True), HeldJob(log, "good")
    for job in (bad, good):
        job.release.set()
        worker.submit(job)
    assert good.ended.wait(WAIT_S)
    assert log == ["bad", "good"]


def test_closing_ends_what_runs_fails_what_waits_and_refuses_what_comes(
    worker: InferenceWorker,
) -> None:
    log: list[str] = []
    running, waiting = HeldJob(log, "running"), HeldJob(log, "waiting")
    worker.submit(running)
    assert running.started.wait(WAIT_S)
    worker.submit(waiting)
    worker.close(_release, WAIT_S)
    assert sorted(log) == ["running", "waiting failed: the inference engine is closing"]
    with pytest.raises(InferenceError, match="closed"):
        worker.submit(HeldJob(log, "late"))
    worker.close(_release, WAIT_S)
