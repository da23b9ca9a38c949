"""How much memory the GPU has, asked of CUDA's runtime library that ONNX Runtime uses too.

Source: cudaMemGetInfo in NVIDIA's "CUDA Runtime API", section "Memory Management".
"""

import ctypes
import sys

from infrastructure.inference.sessions.providers import preload_cuda

_LIBRARY = "cudart64_13.dll" if sys.platform == "win32" else "libcudart.so.13"


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
