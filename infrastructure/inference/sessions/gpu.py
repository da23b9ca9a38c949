"""Asks CUDA's runtime library, the one that ONNX Runtime uses, about the GPU.

Source: cudaMemGetInfo and cudaDeviceGetAttribute in NVIDIA's "CUDA Runtime API".
"""

import ctypes
import sys

from infrastructure.inference.sessions.providers import preload_cuda

_LIBRARY = "cudart64_13.dll" if sys.platform == "win32" else "libcudart.so.13"
_COMPUTE_CAPABILITY = (75, 76)  # cudaDevAttrComputeCapabilityMajor and Minor


def _cuda_runtime() -> ctypes.CDLL | None:
    preload_cuda()
    try:
        return ctypes.CDLL(_LIBRARY)
    except OSError:
        return None


def gpu_memory() -> tuple[int, int] | None:
    """Bytes in all and bytes free of the first GPU that this process may use; None without one.

    Takes 0.3 s the first time, because it makes the CUDA context that a session would make.
    """
    library = _cuda_runtime()
    if library is None:
        return None
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    if library.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)) != 0:
        return None
    return total.value, free.value


def gpu_architecture() -> str | None:
    """For example "sm_90"; None without a GPU."""
    library = _cuda_runtime()
    if library is None:
        return None
    numbers: list[int] = []
    for attribute in _COMPUTE_CAPABILITY:
        value = ctypes.c_int()
        if library.cudaDeviceGetAttribute(ctypes.byref(value), attribute, 0) != 0:
            return None
        numbers.append(value.value)
    return "sm_" + "".join(map(str, numbers))
