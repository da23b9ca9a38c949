"""What an answer was computed on, as far as that can change it: ONNX Runtime's version, and the
processor's instruction sets or the GPU's architecture.

ONNX Runtime chooses its matrix kernels (MLAS) by the instruction sets. Kernels differ in how they
round sums of int8 products, so the same weights, prompt and seed may give other tokens on another
kind of processor. Source: `platform.cpp` of MLAS in https://github.com/microsoft/onnxruntime.
"""

import platform
from functools import cache
from pathlib import Path

from infrastructure.inference.sessions.gpu import gpu_architecture

_CPUINFO = Path("/proc/cpuinfo")
# As Linux names them, the oldest first.
_INSTRUCTION_SETS = (
    *("sse4_1", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx_vnni_int8"),
    *("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16", "amx_int8"),
    *("amx_bf16", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"),
)


@cache
def computed_on(provider: str) -> str:
    """provider: "CPU" or "CUDA"."""
    import onnxruntime

    where = _gpu() if provider == "CUDA" else _processor()
    return f"onnxruntime {onnxruntime.__version__}, {provider} {where}"


def instruction_sets(cpuinfo: str) -> str:
    """Those by which kernels are chosen, of the first processor in /proc/cpuinfo."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            found = set(value.split())
            return " ".join(each for each in _INSTRUCTION_SETS if each in found)
    return ""


def _processor() -> str:
    try:
        known = instruction_sets(_CPUINFO.read_text(encoding="utf-8", errors="replace"))
    except OSError:  # Not Linux: the architecture alone must do.
        known = ""
    return f"{platform.machine()} {known}".strip()


def _gpu() -> str:
    return gpu_architecture() or "of unknown architecture"
