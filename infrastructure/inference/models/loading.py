"""Loads a prepared folder as a model that answers."""

import logging
import math
import time
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from application.chat.inference import Role, Turn
from application.chat.inference_errors import ModelUnavailable
from infrastructure.inference.answers.batch import Batch
from infrastructure.inference.answers.generation import LoadedModel
from infrastructure.inference.answers.jobs import Outbox
from infrastructure.inference.answers.prefix_cache import PrefixCache
from infrastructure.inference.answers.tokenizer import GemmaTokenizer
from infrastructure.inference.answers.transcript_template import PromptTemplate, TranscriptTemplate
from infrastructure.inference.answers.turns_template import TurnsTemplate
from infrastructure.inference.answers.turnstile import Turnstile
from infrastructure.inference.answers.worker import ModelWorker, QueueLimits
from infrastructure.inference.prepared.catalogue import CatalogueEntry
from infrastructure.inference.prepared.config import Provider
from infrastructure.inference.prepared.errors import ModelFileDamaged, is_out_of_memory
from infrastructure.inference.prepared.manifest import (
    GRAPH_FILE,
    TOKENIZER_FILE,
    Manifest,
    check_hashes,
    read_manifest,
)
from infrastructure.inference.prepared.versions import TEMPLATE_VERSION, TURNS_TEMPLATE_VERSION
from infrastructure.inference.sessions.chunks import Chunks
from infrastructure.inference.sessions.engine_settings import STALL_MS_MAX, OnnxEngineSettings
from infrastructure.inference.sessions.exported_session import ExportedSession, UnknownGraph
from infrastructure.inference.sessions.host_session import (
    HostSession,
    SessionLimits,
    open_session,
    release_freed_memory,
)
from infrastructure.inference.sessions.kernels import computed_on
from infrastructure.inference.sessions.needs import (
    MemoryNeeds,
    keeps_rows_on_device,
    memory_needs,
    session_limits,
)
from infrastructure.inference.sessions.providers import chosen_provider, opened_session
from infrastructure.inference.sessions.row_session import RowSession

_log = logging.getLogger(__name__)

_TEMPLATES: dict[str, type[TranscriptTemplate | TurnsTemplate]] = {
    TEMPLATE_VERSION: TranscriptTemplate,
    TURNS_TEMPLATE_VERSION: TurnsTemplate,
}


@dataclass(frozen=True, kw_only=True)
class ReadyModel:
    """template: safe to use from any thread. needs: the memory that the model takes."""

    worker: ModelWorker
    template: PromptTemplate
    runs_on: str
    needs: MemoryNeeds


def load_model(
    entry: CatalogueEntry, settings: OnnxEngineSettings, turnstile: Turnstile
) -> ReadyModel:
    """Takes 1 to 3 s. Raises ModelUnavailable, whose text says what to do, or MemoryError."""
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
        if is_out_of_memory(error):
            raise MemoryError from error
        raise ModelUnavailable(
            f"ONNX Runtime cannot load {entry.title} ({type(error).__name__}); the log says why"
        ) from error
    release_freed_memory()
    _log.info(
        "%s loaded in %.1f s, computes on %s",
        entry.name,
        time.monotonic() - started,
        # Computed here, in the loading thread, and cached for later callers.
        computed_on(ready.runs_on),
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
    open_rows = _on_device if keeps_rows_on_device(manifest, settings) else _on_host
    session, provider = open_rows(folder, manifest, settings, chosen, names)
    model = LoadedModel(
        name=entry.name,
        session=session,
        tokenizer=tokenizer,
        stops=template.stops,
        manifest_hash=manifest.hash,
        chunks=Chunks(chunk_tokens=limits.chunk_tokens, header_ids=template.header_ids),
        context_tokens=limits.context_tokens,
        runs_on=provider,
    )
    kept = PrefixCache(model.chunks, bytes_max=settings.kept_bytes_max)
    _warm_up(model, kept, template, turnstile)
    outbox = Outbox()
    batch = Batch(model, kept, outbox)
    worker = ModelWorker(batch, outbox, turnstile, _queue_limits(settings))
    worker.start()
    return ReadyModel(
        worker=worker,
        template=template,
        runs_on=provider,
        needs=memory_needs(manifest, settings),
    )


def _queue_limits(settings: OnnxEngineSettings) -> QueueLimits:
    return QueueLimits(
        waiting_max=settings.queue_max,
        waiting_each_max=settings.queue_each_max,
        rows_each_max=settings.rows_each_max,
    )


def _on_host(
    folder: Path,
    manifest: Manifest,
    settings: OnnxEngineSettings,
    chosen: Provider,
    names: dict[str, str],
) -> tuple[RowSession, str]:
    """A session with its KV cache in the host's memory, and the provider that it runs on."""
    limits = session_limits(manifest, settings)
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
    return _host_session(manifest, folder, session, limits), provider


def _on_device(
    folder: Path,
    manifest: Manifest,
    settings: OnnxEngineSettings,
    chosen: Provider,
    names: dict[str, str],
) -> tuple[RowSession, str]:
    """A session with KV cache and logits in its device's memory, and the provider it runs on."""
    from infrastructure.inference.sessions.device import Device
    from infrastructure.inference.sessions.device_session import DeviceLimits, DeviceSession

    limits, needs = session_limits(manifest, settings), memory_needs(manifest, settings)
    device = Device(provider=chosen, threads=limits.threads)
    session, provider = opened_session(
        partial(
            device.session,
            str(folder / GRAPH_FILE),
            arena_bytes=needs.workspace,
            cuda_graph=settings.cuda_graphs,
        ),
        chosen,
        **names,
    )
    of_device = DeviceLimits(
        kept_bytes_max=settings.kept_bytes_max, cuda_graphs=settings.cuda_graphs
    )
    return DeviceSession(session, manifest.config, limits, device, of_device), provider


def _host_session(
    manifest: Manifest, folder: Path, session: Any, limits: SessionLimits
) -> HostSession:
    """Raises ModelFileDamaged if the graph is not of the kind that the manifest names."""
    if manifest.via is None:
        return HostSession(session, manifest.config, limits)
    try:
        return ExportedSession(session, manifest.config, limits)
    except UnknownGraph as error:
        what = f"its inputs are not those of {manifest.via} ({error})"
        raise ModelFileDamaged(folder / GRAPH_FILE, what) from error


def _warm_up(
    model: LoadedModel, kept: PrefixCache, template: PromptTemplate, turnstile: Turnstile
) -> None:
    """Prefill the template's header, so that the first answer starts as fast as later ones, and
    find out whether batch rows are independent of each other."""
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
        kept.keep("", ids, last, session.kv_cache, 0)
    with turnstile:
        rows_are_independent = session.check_row_independence(ids[-1], len(ids))
    if not rows_are_independent:
        _log.warning(
            "%s decodes its rows one by one: on this machine, rows that share a step change each"
            " other's results",
            model.name,
        )
    for row in range(session.kv_cache.rows):
        session.kv_cache.release(row)
    if STALL_MS_MAX < quickest_s * 1000 < math.inf:
        _log.warning(
            "a prefill step of %s took %.0f ms: streams stall for longer than %d ms while prompts"
            " are read",
            model.name,
            quickest_s * 1000,
            STALL_MS_MAX,
        )
