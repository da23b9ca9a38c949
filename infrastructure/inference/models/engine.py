"""The service's language models behind the port `application.chat.inference.InferenceEngine`.

Importing this module imports neither ONNX Runtime nor tokenizers, so a process that never answers
stays small. The thread that loads a model imports them.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence

from application.chat.inference import (
    Completion,
    Delta,
    GenerationRequest,
    MemoryReleased,
    ModelCard,
    PreparedPrompt,
    Turn,
    WorkMeter,
)
from application.chat.inference_errors import InferenceError, UnknownModel
from infrastructure.inference.answers.jobs import Job
from infrastructure.inference.answers.turnstile import Turnstile
from infrastructure.inference.answers.worker import ModelWorker, WorkerClosed
from infrastructure.inference.models.loading import ReadyModel
from infrastructure.inference.models.model_memory import ModelMemory
from infrastructure.inference.models.model_slot import ModelSlot
from infrastructure.inference.prepared.catalogue import CATALOGUE, CatalogueEntry
from infrastructure.inference.sessions.engine_settings import OnnxEngineSettings

__all__ = ["OnnxEngine", "OnnxEngineSettings"]

# A model may be unloaded after it was found ready and before it gets the request.
_SUBMIT_TRIES_MAX = 3


class OnnxEngine:
    """A model is loaded by the first request for it. Each has a thread of its own."""

    def __init__(
        self, settings: OnnxEngineSettings, catalogue: Sequence[CatalogueEntry] = CATALOGUE
    ) -> None:
        self._settings = settings
        turnstile = Turnstile()
        self._slots = {entry.name: ModelSlot(entry, settings, turnstile) for entry in catalogue}
        self._memory = ModelMemory(list(self._slots.values()), settings)
        self._closed = False

    def models(self) -> Sequence[ModelCard]:
        return [slot.card() for slot in self._slots.values()]

    def card(self, model: str) -> ModelCard | None:
        slot = self._slots.get(model)
        return None if slot is None else slot.card()

    async def preload(self, model: str) -> None:
        """Load the model now. Raises UnknownModel, ModelUnavailable."""
        await self._ready(model)

    async def prepare_prompt(
        self, model: str, turns: Sequence[Turn], *, completion_tokens_wanted: int
    ) -> PreparedPrompt:
        ready = await self._ready(model)
        # Tokenising a long text takes milliseconds that the event loop doesn't have.
        return await asyncio.to_thread(
            ready.template.prepare,
            model,
            turns,
            completion_tokens_wanted=completion_tokens_wanted,
        )

    def is_answered(self, _request: GenerationRequest) -> bool:
        """Every answer is generated here."""
        return False

    def check_room(self, request: GenerationRequest) -> None:
        slot = self._slots.get(request.prompt.model)
        if slot is not None and slot.ready is not None:
            slot.ready.worker.check_room(request.owner)

    async def stream(
        self, request: GenerationRequest, meter: WorkMeter | None = None
    ) -> AsyncGenerator[Delta | Completion, None]:
        timeout_s = self._settings.generation_timeout_s
        if request.timeout_s is not None:
            timeout_s = min(timeout_s, request.timeout_s)
        job = Job(request, timeout_s=timeout_s, meter=meter)
        worker = await self._submit(job)
        try:
            while True:
                item = await job.items.get()
                if isinstance(item, InferenceError):
                    raise item
                yield item
                if isinstance(item, Completion):
                    return
        finally:
            worker.withdraw(job)

    async def release_memory(self) -> MemoryReleased:
        return await asyncio.to_thread(self._memory.release)

    async def close(self) -> None:
        """End all requests with an error and free the models. Closing twice is fine. A load that
        has begun goes on in its thread: it cannot be stopped, and nobody should wait for it."""
        self._closed = True
        for slot in self._slots.values():
            await asyncio.to_thread(slot.close, self._settings.close_timeout_s)

    async def _submit(self, job: Job) -> ModelWorker:
        for _ in range(_SUBMIT_TRIES_MAX):
            ready = await self._ready(job.request.prompt.model)
            try:
                ready.worker.submit(job)
            except WorkerClosed:
                if self._closed:
                    raise
            else:
                return ready.worker
        raise InferenceError("the model was unloaded while it was asked; try again")

    async def _ready(self, name: str) -> ReadyModel:
        slot = self._slots.get(name)
        if slot is None:
            raise UnknownModel(
                f"there is no model {name!r}; known are {', '.join(sorted(self._slots))}"
            )
        if self._closed:
            raise InferenceError("the inference engine is closed")
        slot.used_at = time.monotonic()
        ready = slot.ready
        if ready is not None:
            return ready
        # Shielded: others wait for the same load, which one cancelled request must not end.
        return await asyncio.shield(asyncio.wrap_future(slot.load(self._memory.room_for)))
