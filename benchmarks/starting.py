"""How long the first start takes, and every later one."""

import shutil
import time
from pathlib import Path

from benchmarks.client import Client
from benchmarks.figures import Figure, Goal, of_repeats
from benchmarks.running import Service, running

FIRST_ANSWER_S_MAX = Goal(bound=180)
WARM_READY_S_MAX = Goal(bound=6)
_QUESTION = {"message": "What is a tree?", "max_tokens": 64, "temperature": 0}


def first_starts(folder: Path, *, repeats: int) -> tuple[list[Figure], Path]:
    """The figures, and the folder of the last run, whose model is prepared."""
    ready_s, answered_s = [], []
    used = folder / "first"
    for _ in range(repeats):
        shutil.rmtree(used, ignore_errors=True)
        used.mkdir()
        # The whole service with its page, as `make run` starts it.
        service = Service(folder=used, mode="all")
        with running(service):
            ready_s.append(time.perf_counter() - service.started_at)
            _first_answer(service, "newcomer")
            answered_s.append(time.perf_counter() - service.started_at)
    conditions = "chatledger start, empty folders, packages installed; model converted"
    return [
        of_repeats("First start to /readyz", "s", ready_s, conditions),
        of_repeats(
            "First start to first answer",
            "s",
            answered_s,
            f"{conditions}; registered, signed in, up to 64 tokens",
            FIRST_ANSWER_S_MAX,
        ),
    ], used


def warm_starts(folder: Path, *, repeats: int) -> list[Figure]:
    """Starts on the data of an earlier run."""
    ready_s, answered_s = [], []
    for number in range(repeats):
        service = Service(folder=folder, mode="all")
        try:
            ready_s.append(service.start())
            _first_answer(service, f"warm{number}")
            answered_s.append(time.perf_counter() - service.started_at)
        finally:
            service.stop()
    conditions = "chatledger start on the data of an earlier run"
    return [
        of_repeats("Warm start to /readyz", "s", ready_s, conditions, WARM_READY_S_MAX),
        of_repeats(
            "Warm start to first answer",
            "s",
            answered_s,
            f"{conditions}; a new user, the model is loaded meanwhile, up to 64 tokens",
        ),
    ]


def _first_answer(service: Service, username: str) -> None:
    client = Client(service.port)
    try:
        client.sign_up(username)
        client.call("POST", "/chat/message", _QUESTION)
    finally:
        client.close()
