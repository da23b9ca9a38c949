"""What a model takes: of the host's memory and of its device's, and how many rows fit.

Functions of the manifest and the settings alone, so that answers can be repeated and what cannot
fit is refused before anything is loaded.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path

from infrastructure.inference.prepared.config import GraphFormat, Precision, Provider
from infrastructure.inference.prepared.manifest import Manifest
from infrastructure.inference.sessions.engine_settings import OnnxEngineSettings
from infrastructure.inference.sessions.host_session import SessionLimits

# Of a loaded model beside its packed weights: the tokenizer, the runtime, a step's activations.
_OVERHEAD_BYTES = 256 * 1024**2
_WEIGHTS_SHARE = 1.25
_CHUNK_TOKENS_MIN, _CHUNK_TOKENS_MAX = 8, 64
_CHUNK_MODEL_BYTES = 340_000_000
# On a device a chunk must be long enough to be worth reading the weights for.
_CHUNK_TOKENS_DEVICE = 256
# Of CUDA itself: its context and the libraries' own buffers.
_CUDA_BYTES = 512 * 1024**2
# Float32 arrays as large as the logits that choosing tokens takes, with the logits themselves.
SAMPLING_COPIES = 7
# Of float32 numbers that a prompt's token passes through at once, in widths of the feed-forward
# part, with room to spare.
_ACTIVATION_WIDTHS = 8
# Copies are made of stretches of tokens as long as both ends allow, up to this many.
TOKENS_STEP = 256
# Pieces of rows that there are at once beside what is kept: read, written, and one in reserve.
COPIES = 3
# A row is moved in pieces of about so many bytes, which pass through memory of their own.
MOVED_BYTES_MAX = 64 * 1024**2
_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, kw_only=True)
class MemoryNeeds:
    """Bytes, about. host: of the machine's memory. rows: of keys and values, kept: of those of
    earlier prompts and of what is being copied, sampling: logits and what choosing from them
    takes, workspace: of a step; these and the weights are the device's, and 0 for a model that
    keeps its rows on the host."""

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
        # Such graphs take and give their keys and values as a whole, see `exported_session`.
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
    """On the host with one full row, whose memory comes with use; on a device with all rows,
    which are reserved. Both with as much kept as may be."""
    limits = session_limits(manifest, settings)
    row_bytes = _token_bytes(manifest) * limits.context_tokens
    weights_bytes = manifest.size_bytes()
    if not keeps_rows_on_device(manifest, settings):
        host = int(_WEIGHTS_SHARE * weights_bytes) + _OVERHEAD_BYTES + row_bytes
        return MemoryNeeds(host=host + settings.kept_bytes_max)
    config, kind = manifest.config, _format(manifest)
    step = 4 * _ACTIVATION_WIDTHS * config.feed_forward_size * limits.chunk_tokens
    if kind.quantized:
        # Steps of many tokens unpack a matrix before they multiply by it.
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
    """Of the largest piece of a row that is copied at once: a chunk to be kept, or of a move."""
    moved_tokens = max(1, moved_bytes_max // token_bytes // TOKENS_STEP) * TOKENS_STEP
    return token_bytes * max(chunk_tokens, moved_tokens)


def _format(manifest: Manifest) -> GraphFormat:
    return GraphFormat(
        weights=Precision(manifest.precision), provider=Provider(manifest.providers[0])
    )


def _token_bytes(manifest: Manifest) -> int:
    """Of keys and values of one token in all layers."""
    return manifest.config.kv_bytes_per_token * _format(manifest).activation_bytes // 4


def _chunk_tokens(model_bytes: int) -> int:
    """The largest power of two in bounds whose step takes about as long as that of 64 tokens of
    a model of 300 MB, which is 75 ms on two cores."""
    fitting = _CHUNK_TOKENS_MAX * _CHUNK_MODEL_BYTES // max(model_bytes, 1)
    fitting = min(max(fitting, _CHUNK_TOKENS_MIN), _CHUNK_TOKENS_MAX)
    return 1 << (fitting.bit_length() - 1)


def usable_cores() -> int:
    """Physical cores that affinity and the container's quota leave to this process."""
    import psutil

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    counts = [count for count in (allowed, psutil.cpu_count(logical=False)) if count]
    try:
        quota, period = _CGROUP_QUOTA.read_text().split()
        counts.append(max(1, math.floor(int(quota) / int(period))))
    except (OSError, ValueError):
        pass  # No cgroup v2, or no limit ("max").
    return min(counts, default=1)
