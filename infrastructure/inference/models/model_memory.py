"""Which models stand in memory: a budget of the machine's and one of the GPU's, and who must go
when another one is asked for."""

import gc
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from application.chat.inference import MemoryReleased
from application.chat.inference_errors import ModelTooLarge
from infrastructure.inference.models.gpu_memory import gpu_memory
from infrastructure.inference.models.model_slot import ModelSlot, NoRoomNow
from infrastructure.inference.prepared.manifest import Manifest
from infrastructure.inference.sessions.engine_settings import OnnxEngineSettings
from infrastructure.inference.sessions.host_session import release_freed_memory
from infrastructure.inference.sessions.needs import MemoryNeeds, memory_needs

_log = logging.getLogger(__name__)

# Of the machine's memory, for models, where the operator names no budget.
_SHARE = 0.75
# The same of a GPU's, which nothing else uses.
_GPU_SHARE = 0.9
_CGROUP = Path("/sys/fs/cgroup")
_UNLOAD_TIMEOUT_S = 10.0
# How long a model that is answering may take to forget what it keeps.
_DROP_TIMEOUT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class _Store:
    """One of the memories that models share. budget: bytes for models. available: bytes that
    can still be had, whoever has the others. of: what a model takes of it."""

    name: str
    setting: str
    budget: int
    available: int
    of: Callable[[MemoryNeeds], int]


class ModelMemory:
    """Used from the threads that load and release, one at a time."""

    def __init__(self, slots: Sequence[ModelSlot], settings: OnnxEngineSettings) -> None:
        self._slots = slots
        self._settings = settings
        self._one_at_a_time = threading.Lock()

    @contextmanager
    def room_for(self, title: str, manifest: Manifest) -> Iterator[None]:
        """Load a model inside. Unloads the models used longest ago, as many as must go.

        Raises ModelTooLarge when it could not fit even alone, NoRoomNow when those that would
        have to go are answering.
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
                with suppress(TimeoutError):  # It will forget when its step is over.
                    dropped += ready.worker.drop_kept().result(_DROP_TIMEOUT_S)
                # Or this frame would keep the model.
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
        # Where no GPU answers, the setting alone counts; and without it the session, which then
        # cannot be opened, says what is missing.
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
        """Unload the idle model that was used longest ago and takes any of that memory; False
        when there is none."""
        for slot in sorted(self._slots, key=lambda slot: slot.used_at):
            ready = slot.ready
            if ready is None or not of(ready.needs):
                continue
            # Or this frame would keep the model.
            del ready
            if slot.unload_if_idle(_UNLOAD_TIMEOUT_S):
                _log.info("%s was unloaded to make room", slot.name)
                gc.collect()
                release_freed_memory()
                return True
        return False


def system_memory() -> tuple[int, int]:
    """Bytes this process could have at most, and bytes it could still get: the machine's, or the
    container's where that has less."""
    import psutil

    machine = psutil.virtual_memory()
    total, available = int(machine.total), int(machine.available)
    with suppress(OSError, ValueError):  # No cgroup v2, or no limit ("max").
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
        total, available = min(total, limit), min(available, max(0, limit - used))
    return total, available


def resident_bytes() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)
