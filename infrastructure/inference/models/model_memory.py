"""Decides which models stay in memory: one budget for the machine's, one for the GPU's, and which
models are unloaded when another one needs room."""

import gc
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from application.chat.inference import MemoryReleased
from application.chat.inference_errors import ModelTooLarge
from infrastructure.inference.models.model_slot import ModelSlot, NoRoomNow
from infrastructure.inference.prepared.manifest import Manifest
from infrastructure.inference.sessions.engine_settings import OnnxEngineSettings
from infrastructure.inference.sessions.gpu import gpu_memory
from infrastructure.inference.sessions.host_session import release_freed_memory
from infrastructure.inference.sessions.needs import MemoryNeeds, memory_needs
from infrastructure.process.memory import resident_bytes, system_memory

_log = logging.getLogger(__name__)

# The models' share of the machine's memory if the operator sets no budget.
_SHARE = 0.75
# Their share of the GPU's memory, which nothing else uses.
_GPU_SHARE = 0.9
_UNLOAD_TIMEOUT_S = 10.0
# How long a model that is answering may take to empty its prefix cache.
_DROP_TIMEOUT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class _Store:
    """A memory that models share: the host's or the device's.

    setting: the one that raises the budget. budget: bytes for all models together. available:
    bytes that no program has taken. of: the bytes that a model needs of this memory.
    """

    name: str
    setting: str
    budget: int
    available: int
    of: Callable[[MemoryNeeds], int]


class ModelMemory:
    """Safe to use from any thread; loads and releases happen one at a time."""

    def __init__(self, slots: Sequence[ModelSlot], settings: OnnxEngineSettings) -> None:
        self._slots = slots
        self._settings = settings
        self._one_at_a_time = threading.Lock()

    @contextmanager
    def room_for(self, title: str, manifest: Manifest) -> Iterator[None]:
        """Load a model within this context, which first unloads the least recently used models
        until there is room.

        Raises ModelTooLarge if the model would not fit even alone, NoRoomNow if the models that
        would have to be unloaded are answering.
        """
        needs = memory_needs(manifest, self._settings)
        stores = [self._host, self._device] if needs.device else [self._host]
        with self._one_at_a_time:
            for look in stores:
                store = look()
                if store.of(needs) > store.budget:
                    raise ModelTooLarge(
                        title,
                        needed_bytes=store.of(needs),
                        free_bytes=store.budget,
                        remedy=f"raise {store.setting}, lower CONTEXT_TOKENS_MAX or choose a"
                        " smaller model",
                        of=store.name,
                    )
            for look in stores:
                self._make_room(title, needs, look)
            yield

    def _make_room(self, title: str, needs: MemoryNeeds, look: Callable[[], _Store]) -> None:
        while (free := self._free(store := look())) < store.of(needs):
            if not self._evict(store.of):
                raise NoRoomNow(
                    title,
                    needed_bytes=store.of(needs),
                    free_bytes=free,
                    remedy="try again when other models or programs need less",
                    of=store.name,
                )

    def release(self) -> MemoryReleased:
        """See `InferenceEngine.release_memory`."""
        with self._one_at_a_time:
            before, gpu_before = resident_bytes(), self._loaded(lambda needs: needs.device)
            dropped, unloaded = 0, []
            for slot in self._slots:
                ready = slot.ready
                if ready is None:
                    continue
                with suppress(TimeoutError):  # It empties its cache after its step.
                    dropped += ready.worker.drop_kept().result(_DROP_TIMEOUT_S)
                # Otherwise this frame would keep the model alive.
                del ready
                if slot.unload_if_idle(_UNLOAD_TIMEOUT_S):
                    unloaded.append(slot.name)
            gc.collect()
            release_freed_memory()
            return MemoryReleased(
                models_unloaded=tuple(unloaded),
                kept_bytes_dropped=dropped,
                rss_before_bytes=before,
                rss_after_bytes=resident_bytes(),
                gpu_before_bytes=gpu_before,
                gpu_after_bytes=self._loaded(lambda needs: needs.device),
            )

    def _host(self) -> _Store:
        total, available = system_memory()
        return _Store(
            name="memory",
            setting="INFERENCE_MEMORY_MB",
            budget=self._settings.memory_bytes_max or int(_SHARE * total),
            available=available,
            of=lambda needs: needs.host,
        )

    def _device(self) -> _Store:
        # Without a GPU only the setting limits the size. Opening the session then fails, with a
        # message that says what is missing.
        total, available = gpu_memory() or (sys.maxsize, sys.maxsize)
        return _Store(
            name="the GPU's memory",
            setting="INFERENCE_GPU_MEMORY_MB",
            budget=self._settings.gpu_bytes_max or int(_GPU_SHARE * total),
            available=available,
            of=lambda needs: needs.device,
        )

    def _loaded(self, of: Callable[[MemoryNeeds], int]) -> int:
        ready = [slot.ready for slot in self._slots]
        return sum(of(model.needs) for model in ready if model is not None)

    def _free(self, store: _Store) -> int:
        return max(0, min(store.budget - self._loaded(store.of), store.available))

    def _evict(self, of: Callable[[MemoryNeeds], int]) -> bool:
        """Unload the least recently used idle model that takes any of this memory. False if there
        is none."""
        for slot in sorted(self._slots, key=lambda slot: slot.used_at):
            ready = slot.ready
            if ready is None or not of(ready.needs):
                continue
            # Otherwise this frame would keep the model alive.
            del ready
            if slot.unload_if_idle(_UNLOAD_TIMEOUT_S):
                _log.info("%s was unloaded to make room", slot.name)
                gc.collect()
                release_freed_memory()
                return True
        return False
