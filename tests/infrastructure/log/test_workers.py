import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from infrastructure.log.workers import LOADED_FIRST, WorkersLost, worker_pool

WITHIN_S = 20.0


class Counter:
    """Says which process it is, and how often it was asked."""

    def __init__(self, start: int) -> None:
        if start < 0:
            raise ValueError("cannot begin")
        self._asked = start
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def ask(self, number: int) -> tuple[int, int, int]:
        if number == 13:
            raise LookupError("no thirteen")
        self._asked += 1
        return number, self._asked, os.getpid()

    def sleep(self) -> None:
        time.sleep(600)

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def itself(self) -> "Counter":
        return self


def test_several_processes_answer_in_the_order_of_the_questions() -> None:
    with worker_pool(2) as pool:
        crew = pool.crew("counters", partial(Counter, 100))
        answers = list(crew.in_order(Counter.ask, ((number,) for number in range(40, 80))))

    assert [number for number, _, _ in answers] == list(range(40, 80))
    processes = {process for _, _, process in answers}
    assert os.getpid() not in processes
    # Each has one worker, which goes on where it was.
    for process in processes:
        asked = [count for _, count, of in answers if of == process]
        assert asked == list(range(101, 101 + len(asked)))
    assert not any(psutil.pid_exists(process) for process in processes)


def test_one_process_is_a_thread_of_this_one_and_its_worker_is_closed() -> None:
    with worker_pool(1) as pool:
        crew = pool.crew("counters", partial(Counter, 0))
        assert [of for _, _, of in crew.in_order(Counter.ask, [(1,), (2,)])] == [os.getpid()] * 2
        worker = crew.submit(Counter.itself).result()
        other = pool.crew("others", partial(Counter, 0)).submit(Counter.itself).result()
        assert worker is not other
        assert not worker.closed
    assert worker.closed
    assert other.closed
    assert not [each for each in threading.enumerate() if each.name.startswith("worker")]


@pytest.mark.parametrize("processes", [1, 2])
def test_what_fails_there_is_raised_here(processes: int) -> None:
    with worker_pool(processes) as pool:
        crew = pool.crew("counters", partial(Counter, 0))
        with pytest.raises(LookupError, match="no thirteen"):
            list(crew.in_order(Counter.ask, [(12,), (13,), (14,)]))
        assert crew.submit(Counter.ask, 15).result()[0] == 15
        with pytest.raises(ValueError, match="cannot begin"):
            pool.crew("broken", partial(Counter, -1)).submit(Counter.ask, 1).result()


_SCRIPT = """
from functools import partial
from infrastructure.log.workers import worker_pool
from tests.infrastructure.log.test_workers import Counter

if __name__ == "__main__":
    with worker_pool(2) as pool:
        crew = pool.crew("counters", partial(Counter, 0))
        crew.submit(Counter.ask, 1).result()
        print("ready", flush=True)
        crew.submit(Counter.sleep).result()
"""


def test_no_process_outlives_the_one_that_it_works_for(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    root = str(Path(__file__).parents[3])
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        cwd=root,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert parent.stdout is not None
    with parent.stdout:
        assert parent.stdout.readline() == b"ready\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        assert len(children) >= 2
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        _, alive = psutil.wait_procs(children, timeout=WITHIN_S)
    assert not alive


def test_a_process_that_is_lost_is_told_with_what_to_do() -> None:
    def lose_one() -> None:
        with worker_pool(2) as pool:
            pool.crew("counters", partial(Counter, 0)).submit(Counter.die).result()

    with pytest.raises(WorkersLost, match="set REPLAY_PROCESSES=1"):
        lose_one()


@pytest.mark.parametrize("module", LOADED_FIRST)
def test_what_workers_load_first_is_there_or_each_would_load_it_by_itself(module: str) -> None:
    assert find_spec(module) is not None
