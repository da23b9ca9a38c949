"""What several tests of the embedded servers check."""

import psutil
import psycopg

from infrastructure.embedded.processes import wait_until

GONE_TIMEOUT_S = 15
HEALED_TIMEOUT_S = 30


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def are_gone(*pids: int) -> bool:
    """Whether all of them end within a bounded time."""
    return wait_until(lambda: not any(is_alive(pid) for pid in pids), GONE_TIMEOUT_S, 0.02)


def write_number(url: str, number: int) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS numbers (n integer)")
        connection.execute("INSERT INTO numbers VALUES (%s)", (number,))


def read_numbers(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [n for (n,) in connection.execute("SELECT n FROM numbers ORDER BY n")]


def answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
