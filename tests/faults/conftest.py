"""A service of its own for every fault, with time limits short enough for a test to wait for."""

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.faults.processes import processes_of
from tests.support.service import RunningService
from tests.support.small_disk import small_disk

HOLD_TTL_S = 8
SWEEP_INTERVAL_S = 0.5
# From a fault until no hold is left: a hold's own time, a round of the sweeper, the projector.
SETTLED_WITHIN_S = HOLD_TTL_S + 12

GONE_WITHIN_S = 20
# A start refuses to go on with less than 512 MiB free.
SMALL_DISK_MIB = 720

SETTINGS = {
    "HOLD_TTL_S": str(HOLD_TTL_S),
    "GENERATION_TIMEOUT_S": "5",
    "SETTLE_RETRY_S": "3",
    "SWEEP_INTERVAL_S": str(SWEEP_INTERVAL_S),
    "DATABASE_TIMEOUT_S": "2",
    "SHUTDOWN_TIMEOUT_S": "8",
    "RATE_LIMIT_PER_MINUTE": "100000",
    "REGISTRATIONS_PER_MINUTE": "100000",
    "ADDRESS_REQUESTS_PER_MINUTE": "100000",
    "PASSWORD_HASHES_PER_MINUTE": "100000",
    "PASSWORD_QUEUE_MAX": "1000",
    "PASSWORD_QUEUE_ADDRESS_MAX": "1000",
    "PASSWORD_WAIT_S_MAX": "60",
    "WELCOME_CREDITS": "10000",
    "INFERENCE_THREADS": "1",
}


@pytest.fixture
def seed() -> int:
    """Printed, so that a failure can be repeated: FAULT_SEED=… pytest tests/faults."""
    given = os.environ.get("FAULT_SEED")
    chosen = int(given) if given else random.randrange(2**32)
    print(f"FAULT_SEED={chosen}")
    return chosen


@pytest.fixture(scope="session")
def new_data_dir(prepared_models: Path) -> Iterator[Path]:
    """The data folder of a service that was started once and used by nobody: copying it is faster
    than making a cluster for every test."""
    with _passable_folder() as folder:
        service = RunningService(data_dir=folder / "data", env=SETTINGS)
        service.start()
        assert service.stop() == 0
        yield service.data_dir


@pytest.fixture
def service(new_data_dir: Path) -> Iterator[RunningService]:
    """A service that the test starts itself."""
    with _passable_folder() as folder:
        data_dir = folder / "data"
        data_dir.mkdir()
        with ended(_made(new_data_dir, data_dir)) as running:
            yield running


@pytest.fixture
def service_on_a_small_disk(new_data_dir: Path) -> Iterator[RunningService]:
    """A service whose data folder is a disk with room for a start and for little more."""
    with _passable_folder() as folder:
        data_dir = folder / "data"
        data_dir.mkdir()
        with (
            small_disk(data_dir, size=f"{SMALL_DISK_MIB}m"),
            ended(_made(new_data_dir, data_dir)) as running,
        ):
            yield running


def _made(source: Path, data_dir: Path) -> RunningService:
    copy_tree(source, data_dir)
    return RunningService(data_dir=data_dir, env=dict(SETTINGS))


@contextmanager
def ended(service: RunningService) -> Iterator[RunningService]:
    """Ends the service; none of its processes runs afterwards."""
    try:
        yield service
    finally:
        print(service.log())  # pytest shows it when the test has failed.
        if service.process is not None and service.process.poll() is None:
            below = processes_of(service)
            service.kill()
            psutil.wait_procs(below, timeout=GONE_WITHIN_S)


class _passable_folder(tempfile.TemporaryDirectory[str]):  # noqa: N801
    """A temporary folder that PostgreSQL's own user may pass through."""

    def __enter__(self) -> Path:  # type: ignore[override]
        folder = Path(super().__enter__())
        folder.chmod(0o755)
        return folder


def copy_tree(source: Path, target: Path) -> None:
    """Keeps the owners: if we are root, the cluster belongs to PostgreSQL's own user."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    if os.geteuid() != 0:
        return
    for path in [source, *source.rglob("*")]:
        found = path.stat()
        os.chown(target / path.relative_to(source), found.st_uid, found.st_gid)
