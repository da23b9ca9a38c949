"""From a prepared folder to a model that answers."""

import logging
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

from application.inference import ModelUnavailable, Role, Turn
from infrastructure.onnx.catalogue import CatalogueEntry
from infrastructure.onnx.config import Provider
from infrastructure.onnx.errors import ModelFileDamaged
from infrastructure.onnx.generation import LoadedModel
from infrastructure.onnx.manifest import check_hashes, read_manifest
from infrastructure.onnx.names import TOKENIZER_FILE
from infrastructure.onnx.providers import check_provider, chosen_provider
from infrastructure.onnx.session import (
    GemmaSession,
    SessionLimits,
    open_session,
    release_freed_memory,
)
from infrastructure.onnx.template import PromptTemplate, TranscriptTemplate
from infrastructure.onnx.tokenizer import GemmaTokenizer
from infrastructure.onnx.turns_template import TurnsTemplate
from infrastructure.onnx.versions import TEMPLATE_VERSION, TURNS_TEMPLATE_VERSION

_log = logging.getLogger(__name__)

_TEMPLATES: dict[str, type[TranscriptTemplate | TurnsTemplate]] = {
    TEMPLATE_VERSION: TranscriptTemplate,
    TURNS_TEMPLATE_VERSION: TurnsTemplate,
}
_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, kw_only=True)
class OnnxEngineSettings:
    """models_dir: one folder per prepared model.
    provider: "auto" takes what the model's graph was made for, "cpu" and "cuda" are wishes;
        require_provider makes a wish that is not granted an error, see `providers`.
    threads: of one step of the model; None takes the physical cores this process may use.
    context_tokens_max: the window, prompt and answer; bounds the key/value buffer's memory
        (37 kB a token for the 270M).
    queue_max: requests that wait for their turn; further ones get EngineBusy.
    generation_timeout_s: from the first step of an answer to its last.
    prefill_chunk_tokens: how much of a prompt one step takes, hence how long a cancellation
        can take to be seen.
    spin: let threads wait in a busy loop; see `session.open_session`.
    verify_files: compare every file's hash when a model is loaded (0.2 s for 300 MB).
    """

    models_dir: Path
    provider: str = "auto"
    require_provider: bool = False
    threads: int | None = None
    context_tokens_max: int = 2048
    queue_max: int = 64
    generation_timeout_s: float = 300.0
    prefill_chunk_tokens: int = 128
    spin: bool = False
    verify_files: bool = True
    close_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if self.provider not in ("auto", "cpu", "cuda"):
            raise ValueError(f"provider is {self.provider!r}; it must be auto, cpu or cuda")
        if min(self.context_tokens_max, self.queue_max, self.prefill_chunk_tokens) < 1:
            raise ValueError(
                "context_tokens_max, queue_max and prefill_chunk_tokens must be at least 1"
            )


@dataclass(frozen=True, kw_only=True)
class ReadyModel:
    """model: for the worker. template: safe to use from any thread."""

    model: LoadedModel
    template: PromptTemplate


def load_model(entry: CatalogueEntry, settings: OnnxEngineSettings) -> ReadyModel:
    """Takes 1 to 3 s. Raises ModelUnavailable with the remedy."""
    folder = settings.models_dir / entry.name
    started = time.monotonic()
    try:
        ready = _load(entry, folder, settings)
    except ModelFileDamaged as error:
        raise ModelUnavailable(
            f"{error}. Delete the folder {folder} and run `{entry.prepare_command}`"
        ) from error
    release_freed_memory()
    _log.info(
        "%s loaded in %.1f s, runs on %s",
        entry.name,
        time.monotonic() - started,
        ready.model.runs_on,
    )
    return ready


def _load(entry: CatalogueEntry, folder: Path, settings: OnnxEngineSettings) -> ReadyModel:
    manifest = read_manifest(folder)
    if settings.verify_files:
        check_hashes(manifest, folder)
    tokenizer = GemmaTokenizer.load(
        folder / TOKENIZER_FILE, bos_id=manifest.bos_id, stop_ids=manifest.stop_ids
    )
    context_tokens = min(settings.context_tokens_max, manifest.config.positions_max)
    template = _TEMPLATES[entry.template_version](tokenizer, context_tokens=context_tokens)
    names = {"title": entry.title, "prepare_command": entry.prepare_command}
    chosen = chosen_provider(
        Provider(manifest.providers[0]),
        settings.provider,
        required=settings.require_provider,
        **names,
    )
    threads = settings.threads or usable_cores()
    limits = SessionLimits(
        context_tokens=context_tokens, threads=threads, chunk_tokens=settings.prefill_chunk_tokens
    )
    try:
        session = open_session(folder, threads=threads, provider=chosen, spin=settings.spin)
        provider = check_provider(session.get_providers(), chosen, **names)
        gemma = GemmaSession(session, manifest.config, limits, template.header_ids)
        _warm_up(gemma, template)
    except ModelUnavailable:
        raise
    except Exception as error:
        _log.exception("%s cannot be loaded", entry.name)
        raise ModelUnavailable(
            f"ONNX Runtime cannot load {entry.title} ({type(error).__name__}); the log says why"
        ) from error
    model = LoadedModel(
        name=entry.name,
        session=gemma,
        tokenizer=tokenizer,
        stops=template.stops,
        manifest_hash=manifest.hash,
        context_tokens=context_tokens,
        runs_on=provider,
    )
    return ReadyModel(model=model, template=template)


def _warm_up(session: GemmaSession, template: PromptTemplate) -> None:
    """Prefill the template's header, so that the first answer starts as fast as the others."""
    prompt = template.prepare("", [Turn(role=Role.USER, content="Hi")], completion_tokens_wanted=1)
    for _ in session.prefill(prompt.token_ids, room_for=1):
        pass


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
