"""What an answer was computed on, as far as it can change its last bits: ONNX Runtime's version and
the instruction sets by which its matrix kernels (MLAS) are chosen when it starts, or the GPU's
architecture.

Sums of int8 products are rounded differently from one kernel to another, so the same weights,
prompt and seed may give other tokens on another class of processor. Source: `platform.cpp` of MLAS
in https://github.com/microsoft/onnxruntime.
"""

import ctypes
import platform
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
# As Linux names them, from the least to the most.
_INSTRUCTION_SETS = (
    *("sse4_1", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx_vnni_int8"),
    *("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16", "amx_int8"),
    *("amx_bf16", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"),
)
_COMPUTE_CAPABILITY = (75, 76)  # cudaDevAttrComputeCapabilityMajor and Minor


@cache
def computed_on(provider: str) -> str:
    """provider: as people read it, "CPU" or "CUDA"."""
    import onnxruntime

    where = _gpu() if provider == "CUDA" else _processor()
    return f"onnxruntime {onnxruntime.__version__}, {provider} {where}"


def instruction_sets(cpuinfo: str) -> str:
    """Those of the first processor in /proc/cpuinfo that kernels are chosen by."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            found = set(value.split())
            return " ".join(each for each in _INSTRUCTION_SETS if each in found)
    return ""


def _processor() -> str:
    try:
        known = instruction_sets(_CPUINFO.read_text(encoding="utf-8", errors="replace"))
    except OSError:  # Not Linux: the architecture says what every such processor has.
        known = ""
    return f"{platform.machine()} {known}".strip()


def _gpu() -> str:
    from infrastructure.inference.sessions.gpu import cuda_runtime

    library = cuda_runtime()
    if library is None:
        return "of unknown architecture"
    numbers: list[int] = []
    for attribute in _COMPUTE_CAPABILITY:
        value = ctypes.c_int()
        if library.cudaDeviceGetAttribute(ctypes.byref(value), attribute, 0) != 0:
            return "of unknown architecture"
        numbers.append(value.value)
    return "sm_" + "".join(map(str, numbers))
