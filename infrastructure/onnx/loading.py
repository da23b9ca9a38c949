"""From a prepared folder to a model that answers."""

import logging
import math
import os
import time
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from application.inference import ModelUnavailable, Role, Turn
from infrastructure.onnx.batch import Batch
from infrastructure.onnx.catalogue import CatalogueEntry
from infrastructure.onnx.chunks import Chunks
from infrastructure.onnx.config import Provider
from infrastructure.onnx.engine_settings import STALL_MS_MAX, OnnxEngineSettings
from infrastructure.onnx.errors import ModelFileDamaged
from infrastructure.onnx.exported_session import ExportedSession, UnknownGraph
from infrastructure.onnx.generation import LoadedModel
from infrastructure.onnx.jobs import Outbox
from infrastructure.onnx.kept_prefixes import KeptPrefixes
from infrastructure.onnx.manifest import Manifest, check_hashes, read_manifest
from infrastructure.onnx.names import GRAPH_FILE, TOKENIZER_FILE
from infrastructure.onnx.providers import (
    chosen_provider,
    opened_session,
    refuse_what_is_not_served,
)
from infrastructure.onnx.session import (
    BatchSession,
    SessionLimits,
    open_session,
    release_freed_memory,
)
from infrastructure.onnx.template import PromptTemplate, TranscriptTemplate
from infrastructure.onnx.tokenizer import GemmaTokenizer
from infrastructure.onnx.turns_template import TurnsTemplate
from infrastructure.onnx.turnstile import Turnstile
from infrastructure.onnx.versions import TEMPLATE_VERSION, TURNS_TEMPLATE_VERSION
from infrastructure.onnx.worker import ModelWorker

_log = logging.getLogger(__name__)

_TEMPLATES: dict[str, type[TranscriptTemplate | TurnsTemplate]] = {
    TEMPLATE_VERSION: TranscriptTemplate,
    TURNS_TEMPLATE_VERSION: TurnsTemplate,
}
# Of a loaded model beside its packed weights: the tokenizer, the runtime, a step's activations.
_OVERHEAD_BYTES = 256 * 1024**2
_WEIGHTS_SHARE = 1.25
_CHUNK_TOKENS_MIN, _CHUNK_TOKENS_MAX = 8, 64
_CHUNK_MODEL_BYTES = 340_000_000
_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, kw_only=True)
class ReadyModel:
    """worker: answers. template: safe to use from any thread. bytes_needed: see `bytes_needed`."""

    worker: ModelWorker
    template: PromptTemplate
    runs_on: str
    bytes_needed: int


def load_model(
    entry: CatalogueEntry, settings: OnnxEngineSettings, turnstile: Turnstile
) -> ReadyModel:
    """Takes 1 to 3 s. Raises ModelUnavailable with the remedy."""
    folder = settings.models_dir / entry.name
    started = time.monotonic()
    try:
        ready = _load(entry, folder, settings, turnstile)
    except ModelFileDamaged as error:
        raise ModelUnavailable(
            f"{error}. Delete the folder {folder} and run `{entry.prepare_command}`"
        ) from error
    except (ModelUnavailable, MemoryError):
        raise
    except Exception as error:
        _log.exception("%s cannot be loaded", entry.name)
        raise ModelUnavailable(
            f"ONNX Runtime cannot load {entry.title} ({type(error).__name__}); the log says why"
        ) from error
    release_freed_memory()
    _log.info(
        "%s loaded in %.1f s, runs on %s", entry.name, time.monotonic() - started, ready.runs_on
    )
    return ready


def _load(
    entry: CatalogueEntry, folder: Path, settings: OnnxEngineSettings, turnstile: Turnstile
) -> ReadyModel:
    manifest = read_manifest(folder)
    if settings.verify_files:
        check_hashes(manifest, folder)
    tokenizer = GemmaTokenizer.load(
        folder / TOKENIZER_FILE, bos_id=manifest.bos_id, stop_ids=manifest.stop_ids
    )
    limits = session_limits(manifest, settings)
    template = _TEMPLATES[entry.template_version](tokenizer, context_tokens=limits.context_tokens)
    names = {"title": entry.title, "prepare_command": entry.prepare_command}
    chosen = chosen_provider(
        Provider(manifest.providers[0]),
        settings.provider,
        required=settings.require_provider,
        **names,
    )
    session, provider = opened_session(
        partial(
            open_session,
            folder,
            threads=limits.threads,
            provider=chosen,
            spin_us=settings.spin_us,
        ),
        chosen,
        **names,
    )
    refuse_what_is_not_served(chosen, **names)
    model = LoadedModel(
        name=entry.name,
        session=_batch_session(manifest, folder, session, limits),
        tokenizer=tokenizer,
        stops=template.stops,
        manifest_hash=manifest.hash,
        chunks=Chunks(chunk_tokens=limits.chunk_tokens, header_ids=template.header_ids),
        context_tokens=limits.context_tokens,
        runs_on=provider,
    )
    kept = KeptPrefixes(model.chunks, bytes_max=settings.kept_bytes_max)
    _warm_up(model, kept, template, turnstile)
    outbox = Outbox()
    batch = Batch(model, kept, outbox)
    worker = ModelWorker(batch, outbox, turnstile, queue_max=settings.queue_max)
    worker.start()
    return ReadyModel(
        worker=worker,
        template=template,
        runs_on=provider,
        bytes_needed=bytes_needed(manifest, settings),
    )


def _batch_session(
    manifest: Manifest, folder: Path, session: Any, limits: SessionLimits
) -> BatchSession:
    """Raises ModelFileDamaged where the graph is not what the manifest says."""
    if manifest.via is None:
        return BatchSession(session, manifest.config, limits)
    try:
        return ExportedSession(session, manifest.config, limits)
    except UnknownGraph as error:
        what = f"its inputs are not those of {manifest.via} ({error})"
        raise ModelFileDamaged(folder / GRAPH_FILE, what) from error


def _warm_up(
    model: LoadedModel, kept: KeptPrefixes, template: PromptTemplate, turnstile: Turnstile
) -> None:
    """Prefill the template's header, so that the first answer starts as fast as the others."""
    turn = Turn(role=Role.USER, content="Hi")
    ids = template.prepare("", [turn], completion_tokens_wanted=1).token_ids
    session, quickest_s = model.session, math.inf
    for first, last in pairwise(model.chunks.cuts(ids)):
        with turnstile:
            started = time.perf_counter()
            session.prefill(0, ids, first, last)
            took_s = time.perf_counter() - started
        if last - first == session.limits.chunk_tokens:
            quickest_s = min(quickest_s, took_s)
        kept.keep("", ids, last, session.slab, 0)
    with turnstile:
        free_of_company = session.check_rows(ids[-1], len(ids))
    if not free_of_company:
        _log.warning(
            "%s decodes its rows one by one: here they would depend on each other", model.name
        )
    for row in range(session.slab.rows):
        session.slab.give_back(row)
    if STALL_MS_MAX < quickest_s * 1000 < math.inf:
        _log.warning(
            "a prefill step of %s took %.0f ms: streams stall for longer than %d ms while prompts"
            " are read",
            model.name,
            quickest_s * 1000,
            STALL_MS_MAX,
        )


def session_limits(manifest: Manifest, settings: OnnxEngineSettings) -> SessionLimits:
    """A function of the manifest and the settings alone, so that answers can be repeated."""
    context_tokens = min(settings.context_tokens_max, manifest.config.positions_max)
    row_bytes = manifest.config.kv_bytes_per_token * context_tokens
    return SessionLimits(
        context_tokens=context_tokens,
        threads=settings.threads or usable_cores(),
        chunk_tokens=settings.prefill_chunk_tokens or _chunk_tokens(manifest.size_bytes()),
        rows_max=max(1, min(settings.rows_max, settings.kv_bytes_max // row_bytes)),
    )


def bytes_needed(manifest: Manifest, settings: OnnxEngineSettings) -> int:
    """Memory that a loaded model takes with one full row and as much kept as it may, about."""
    limits = session_limits(manifest, settings)
    row_bytes = manifest.config.kv_bytes_per_token * limits.context_tokens
    weights_bytes = int(_WEIGHTS_SHARE * manifest.size_bytes())
    return weights_bytes + _OVERHEAD_BYTES + row_bytes + settings.kept_bytes_max


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
