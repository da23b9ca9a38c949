"""How much memory there is and how much of it can still be had: the machine's and the GPU's.

The GPU's is asked of CUDA's runtime library, which ONNX Runtime uses too. Source: cudaMemGetInfo in
NVIDIA's "CUDA Runtime API", section "Memory Management".
"""

import ctypes
import sys
from contextlib import suppress
from pathlib import Path

from infrastructure.inference.sessions.providers import preload_cuda

_CGROUP = Path("/sys/fs/cgroup")
_LIBRARY = "cudart64_13.dll" if sys.platform == "win32" else "libcudart.so.13"


def system_memory() -> tuple[int, int]:
    """Bytes this process could have at most, and bytes it could still get: the machine's, or the
    container's where that has less."""
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


def cuda_runtime() -> ctypes.CDLL | None:
    preload_cuda()
    try:
        return ctypes.CDLL(_LIBRARY)
    except OSError:
        return None


def gpu_memory() -> tuple[int, int] | None:
    """Bytes in all and bytes free of the first GPU that this process may use; None where there
    is none. Takes 0.3 s the first time and makes CUDA's context, as a session would."""
    library = cuda_runtime()
    if library is None:
        return None
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    if library.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)) != 0:
        return None
    return total.value, free.value
