"""How much memory a model needs on the host and on its device, and how many batch rows fit.

All of it follows from the manifest and the settings alone. So answers can be repeated, and a model
that cannot fit is refused before anything is loaded.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path

from infrastructure.inference.prepared.config import GraphFormat, Precision, Provider
from infrastructure.inference.prepared.manifest import Manifest
from infrastructure.inference.sessions.engine_settings import OnnxEngineSettings
from infrastructure.inference.sessions.host_session import SessionLimits
from infrastructure.inference.sessions.kv_layout import TOKENS_STEP

# What a loaded model takes beside its packed weights: tokenizer, runtime, activations of a step.
_OVERHEAD_BYTES = 256 * 1024**2
_WEIGHTS_SHARE = 1.25
_CHUNK_TOKENS_MIN, _CHUNK_TOKENS_MAX = 8, 64
_CHUNK_MODEL_BYTES = 340_000_000
# On a device a step must have enough tokens to be worth reading the weights.
_CHUNK_TOKENS_DEVICE = 256
# What CUDA itself takes: its context and the buffers of its libraries.
_CUDA_BYTES = 512 * 1024**2
# Float32 arrays of the size of the logits that sampling takes, the logits included.
SAMPLING_COPIES = 7
# Float32 activations of one prompt token that exist at once, in widths of the feed-forward part,
# with room to spare.
_ACTIVATION_WIDTHS = 8
# Copied pieces of rows that exist at once, beside the prefix cache: one that is read, one that is
# written, and one in reserve.
COPIES = 3
# A row is moved in pieces of about this many bytes, by way of a buffer.
MOVED_BYTES_MAX = 64 * 1024**2
_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, kw_only=True)
class MemoryNeeds:
    """Estimated bytes.

    host: of the machine's memory. All others are of the device's memory, and 0 for a model with
    its KV cache on the host. rows: the KV cache. kept: the prefix cache, and copies under way.
    sampling: logits and the arrays that sampling takes. workspace: of a step.
    """

    host: int
    weights: int = 0
    rows: int = 0
    kept: int = 0
    sampling: int = 0
    workspace: int = 0

    @property
    def device(self) -> int:
        return self.weights + self.rows + self.kept + self.sampling + self.workspace


def keeps_rows_on_device(manifest: Manifest, settings: OnnxEngineSettings) -> bool:
    if manifest.via is not None:
        # Exported graphs copy all keys and values in each step, see `exported_session`.
        return False
    if settings.on_device is not None:
        return settings.on_device
    return manifest.providers[0] == Provider.CUDA


def session_limits(manifest: Manifest, settings: OnnxEngineSettings) -> SessionLimits:
    on_device = keeps_rows_on_device(manifest, settings)
    context_tokens = min(settings.context_tokens_max, manifest.config.positions_max)
    row_bytes = _token_bytes(manifest) * context_tokens
    chunk_tokens = _CHUNK_TOKENS_DEVICE if on_device else _chunk_tokens(manifest.size_bytes())
    return SessionLimits(
        context_tokens=context_tokens,
        threads=settings.threads or usable_cores(),
        chunk_tokens=settings.prefill_chunk_tokens or chunk_tokens,
        rows_max=max(1, min(settings.rows_max, settings.kv_bytes_max // row_bytes)),
    )


def memory_needs(manifest: Manifest, settings: OnnxEngineSettings) -> MemoryNeeds:
    """On the host this counts one full row, because the KV cache grows with use. On a device it
    counts all rows, which are allocated at once. Both count a full prefix cache."""
    limits = session_limits(manifest, settings)
    row_bytes = _token_bytes(manifest) * limits.context_tokens
    weights_bytes = manifest.size_bytes()
    if not keeps_rows_on_device(manifest, settings):
        host = int(_WEIGHTS_SHARE * weights_bytes) + _OVERHEAD_BYTES + row_bytes
        return MemoryNeeds(host=host + settings.kept_bytes_max)
    config, kind = manifest.config, _format(manifest)
    step = 4 * _ACTIVATION_WIDTHS * config.feed_forward_size * limits.chunk_tokens
    if kind.quantized:
        # A step with many tokens unpacks each matrix before it multiplies by it.
        step += 2 * config.hidden_size * max(config.vocab_size, config.feed_forward_size)
    if kind.provider is Provider.CUDA:
        step += _CUDA_BYTES
    piece = copied_bytes(_token_bytes(manifest), limits.chunk_tokens)
    return MemoryNeeds(
        host=_OVERHEAD_BYTES,
        weights=weights_bytes,
        rows=row_bytes * limits.rows_max,
        kept=settings.kept_bytes_max + COPIES * piece,
        sampling=SAMPLING_COPIES * 4 * limits.rows_max * config.vocab_size,
        workspace=step,
    )


def copied_bytes(
    token_bytes: int, chunk_tokens: int, moved_bytes_max: int = MOVED_BYTES_MAX
) -> int:
    """Bytes of the largest piece copied at once: a chunk to keep, or a piece of a moved row."""
    moved_tokens = max(1, moved_bytes_max // token_bytes // TOKENS_STEP) * TOKENS_STEP
    return token_bytes * max(chunk_tokens, moved_tokens)


def _format(manifest: Manifest) -> GraphFormat:
    return GraphFormat(
        weights=Precision(manifest.precision), provider=Provider(manifest.providers[0])
    )


def _token_bytes(manifest: Manifest) -> int:
    """Bytes of the keys and values of one token in all layers."""
    return manifest.config.kv_bytes_per_token * _format(manifest).activation_bytes // 4


def _chunk_tokens(model_bytes: int) -> int:
    """The largest power of two, within bounds, whose step takes no longer than 64 tokens take in a
    model of 300 MB, which is about 75 ms on two cores."""
    fitting = _CHUNK_TOKENS_MAX * _CHUNK_MODEL_BYTES // max(model_bytes, 1)
    fitting = min(max(fitting, _CHUNK_TOKENS_MIN), _CHUNK_TOKENS_MAX)
    return 1 << (fitting.bit_length() - 1)


def usable_cores() -> int:
    """Physical cores that this process may use by its affinity and its container's quota."""
    import psutil

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    counts = [count for count in (allowed, psutil.cpu_count(logical=False)) if count]
    try:
        quota, period = _CGROUP_QUOTA.read_text().split()
        counts.append(max(1, math.floor(int(quota) / int(period))))
    except (OSError, ValueError):
        pass  # No cgroup v2, or no limit ("max").
    return min(counts, default=1)
