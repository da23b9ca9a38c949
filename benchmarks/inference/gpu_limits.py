"""What a GPU's memory allows, measured."""

import subprocess
import time

import numpy as np

from infrastructure.inference.prepared.config import GemmaConfig, Provider


def copy_rate(provider: Provider, copied_bytes: int) -> float:
    """Bytes per second, read and written, of a copy within the device's memory."""
    if provider is Provider.CPU:
        source = np.ones(copied_bytes, np.uint8)
        target, took = np.empty_like(source), []
        for _ in range(5):
            began = time.perf_counter()
            np.copyto(target, source)
            took.append(time.perf_counter() - began)
        return 2 * copied_bytes / min(took)
    from onnxruntime import OrtValue

    shape, copies = (copied_bytes // 4,), 20
    one, other = (
        OrtValue.ortvalue_from_shape_and_type(shape, np.float32, "cuda", 0) for _ in range(2)
    )
    small = OrtValue.ortvalue_from_shape_and_type((1,), np.float32, "cuda", 0)
    other.update_inplace(one)
    small.numpy()
    began = time.perf_counter()
    for _ in range(copies):
        other.update_inplace(one)
    small.numpy()  # Copying one number back waits for all that was queued before it.
    return 2 * copies * copied_bytes / (time.perf_counter() - began)


def token_limit(
    config: GemmaConfig, *, weights: int, batch: int, context: int, element: int, rate: float
) -> float:
    """Tokens per second if reading memory were all that takes time. weights: bytes of all of
    them; element: bytes of one number in a key; rate: bytes per second."""
    seen = [
        context if config.is_full_attention(layer) else min(context, config.sliding_window)
        for layer in range(config.layers)
    ]
    cache = 2 * element * config.kv_heads * config.head_dim * sum(seen)
    return batch * rate / (weights + batch * cache)


def gpu_name() -> str:
    asked = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
