"""How much memory this machine has and how much this process takes."""

from contextlib import suppress
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def system_memory() -> tuple[int, int]:
    """Bytes in all and bytes available, of the machine or of the container if it has less."""
    import psutil

    machine = psutil.virtual_memory()
    total, available = int(machine.total), int(machine.available)
    with suppress(OSError, ValueError):  # No cgroup v2, or no limit ("max").
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
        total, available = min(total, limit), min(available, max(0, limit - used))
    return total, available


def resident_bytes() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)
