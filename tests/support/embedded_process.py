"""The embedded servers in a process of their own, which a test may kill.

As a program (`python -m tests.support.embedded_process DATA_DIR`) it starts both servers, prints
what a test wants to know as one line of JSON, and stops them when its input ends.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from infrastructure.embedded.servers import EmbeddedServerError, EmbeddedServers, EmbeddedSettings
from tests.support.servers import ignore

REPOSITORY = Path(__file__).parents[2]
END_TIMEOUT_S = 30


@dataclass(frozen=True)
class Started:
    superuser_url: str
    service_url: str
    nats_url: str
    postgres_pid: int
    nats_pid: int


@contextmanager
def embedded_process(
    data_dir: Path, *, working_dir: Path = REPOSITORY
) -> Iterator[tuple["subprocess.Popen[str]", Started]]:
    """The process and what it serves. Whatever of it still runs afterwards is killed."""
    process = launch(data_dir, working_dir=working_dir)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield process, Started(**json.loads(line))
    finally:
        end(process)


def launch(data_dir: Path, *, working_dir: Path = REPOSITORY) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.embedded_process", str(data_dir)],
        cwd=working_dir,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Closes its input, or kills it if that does not help. Returns its output and its errors."""
    try:
        return process.communicate(timeout=END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()


def main() -> None:
    # Log lines go to standard error, so that standard output is the line of JSON alone.
    import structlog

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    settings = EmbeddedSettings(data_dir=Path(sys.argv[1]))
    try:
        servers = EmbeddedServers.start(settings, ignore)
    except EmbeddedServerError as error:
        sys.exit(str(error))
    with servers:
        assert servers.postgres_pid is not None
        assert servers.nats_pid is not None
        started = Started(
            superuser_url=servers.superuser_url,
            service_url=servers.service_database_url,
            nats_url=servers.nats_url,
            postgres_pid=servers.postgres_pid,
            nats_pid=servers.nats_pid,
        )
        sys.stdout.write(json.dumps(asdict(started)) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
