"""Which models stand in memory: a budget, and who must go when another one is asked for."""

import gc
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from application.inference import MemoryReleased, ModelTooLarge
from infrastructure.onnx.engine_settings import OnnxEngineSettings
from infrastructure.onnx.loading import bytes_needed
from infrastructure.onnx.manifest import Manifest
from infrastructure.onnx.model_slot import ModelSlot, NoRoomNow
from infrastructure.onnx.session import release_freed_memory

_log = logging.getLogger(__name__)

# Of the machine's memory, for models, where the operator names no budget.
_SHARE = 0.75
_CGROUP = Path("/sys/fs/cgroup")
_UNLOAD_TIMEOUT_S = 10.0
# How long a model that is answering may take to forget what it keeps.
_DROP_TIMEOUT_S = 10.0


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
        needed = bytes_needed(manifest, self._settings)
        with self._one_at_a_time:
            total, _ = system_memory()
            budget = self._settings.memory_bytes_max or int(_SHARE * total)
            if needed > budget:
                raise ModelTooLarge(
                    title,
                    needed_bytes=needed,
                    free_bytes=budget,
                    remedy="raise INFERENCE_MEMORY_MB, lower CONTEXT_TOKENS_MAX or choose a"
                    " smaller model",
                )
            while (free := self._free(budget)) < needed:
                if not self._evict():
                    raise NoRoomNow(
                        title,
                        needed_bytes=needed,
                        free_bytes=free,
                        remedy="try again when other models or programs need less",
                    )
            yield

    def release(self) -> MemoryReleased:
        """See `InferenceEngine.release_memory`."""
        with self._one_at_a_time:
            before = resident_bytes()
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
            )

    def _free(self, budget: int) -> int:
        ready = [slot.ready for slot in self._slots]
        loaded = sum(model.bytes_needed for model in ready if model is not None)
        _, available = system_memory()
        return max(0, min(budget - loaded, available))

    def _evict(self) -> bool:
        """Unload the idle model that was used longest ago; False when there is none."""
        for slot in sorted(self._slots, key=lambda slot: slot.used_at):
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
