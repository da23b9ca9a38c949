"""The service's language models behind the port `application.inference.InferenceEngine`.

Importing this module imports neither ONNX Runtime nor tokenizers: a process that never answers
stays small. They come with the first request for a prepared model, in the worker's thread.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import Future

from application.inference import (
    Completion,
    Delta,
    GenerationRequest,
    InferenceError,
    ModelCard,
    ModelState,
    ModelUnavailable,
    PreparedPrompt,
    Turn,
    UnknownModel,
)
from infrastructure.onnx.catalogue import CATALOGUE, CatalogueEntry
from infrastructure.onnx.generation import GenerationCancelled, LoadedModel, Watch, generate
from infrastructure.onnx.loading import OnnxEngineSettings, ReadyModel, load_model
from infrastructure.onnx.manifest import Manifest
from infrastructure.onnx.prepare import prepared_manifest
from infrastructure.onnx.worker import InferenceWorker, Job

__all__ = ["OnnxEngine", "OnnxEngineSettings"]

_log = logging.getLogger(__name__)

# A model that failed to load is tried again by a request that comes so much later.
_LOAD_RETRY_S = 30.0


class OnnxEngine:
    """Use from one event loop. Nothing is loaded before it is needed."""

    def __init__(
        self, settings: OnnxEngineSettings, catalogue: Sequence[CatalogueEntry] = CATALOGUE
    ) -> None:
        self._settings = settings
        self._worker = InferenceWorker(queue_max=settings.queue_max)
        self._slots = {entry.name: _Slot(entry, settings) for entry in catalogue}

    def models(self) -> Sequence[ModelCard]:
        return [slot.card() for slot in self._slots.values()]

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

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Delta | Completion, None]:
        ready = await self._ready(request.prompt.model)
        job = _GenerationJob(ready.model, request, self._settings.generation_timeout_s)
        self._worker.submit(job)
        try:
            while True:
                item = await job.items.get()
                if isinstance(item, InferenceError):
                    raise item
                yield item
                if isinstance(item, Completion):
                    return
        finally:
            job.cancelled.set()
            self._worker.withdraw(job)

    async def close(self) -> None:
        """Stop what runs, fail what waits, free the models. Closing twice is fine. A load under
        way goes on in its thread: it cannot be stopped, and nobody should have to wait for it."""
        loads = isinstance(self._worker.running, _LoadJob)
        timeout_s = 0.0 if loads else self._settings.close_timeout_s
        await asyncio.to_thread(self._worker.close, _stop, timeout_s)
        for slot in self._slots.values():
            slot.unload()

    async def _ready(self, name: str) -> ReadyModel:
        slot = self._slots.get(name)
        if slot is None:
            raise UnknownModel(
                f"there is no model {name!r}; known are {', '.join(sorted(self._slots))}"
            )
        if slot.ready is not None:
            return slot.ready
        # Shielded: a request that goes away must not spoil the load for those who wait too.
        return await asyncio.shield(asyncio.wrap_future(slot.load(self._worker)))


class _Slot:
    """A model of the catalogue and where it stands. Touched by the loop and the worker."""

    def __init__(self, entry: CatalogueEntry, settings: OnnxEngineSettings) -> None:
        self._entry = entry
        self._settings = settings
        self._manifest: Manifest | None = None
        self._loading: Future[ReadyModel] | None = None
        self._failure: str | None = None
        self._failed_at = 0.0
        self.ready: ReadyModel | None = None

    def card(self) -> ModelCard:
        state, detail = self._state()
        manifest = self._manifest if state is not ModelState.NOT_PREPARED else None
        window = min(self._entry.context_tokens, self._settings.context_tokens_max)
        if manifest is not None:
            window = min(window, manifest.config.positions_max)
        return ModelCard(
            name=self._entry.name,
            title=self._entry.title,
            context_tokens=window,
            state=state,
            detail=detail,
            licence=self._entry.licence,
            licence_url=self._entry.licence_url,
            manifest_hash=manifest.hash if manifest else None,
            runs_on=self.ready.model.runs_on if self.ready else None,
        )

    def load(self, worker: InferenceWorker) -> "Future[ReadyModel]":
        """The load under way, or a new one. Raises ModelUnavailable at once where it is known
        that there is nothing to load."""
        if self._loading is not None:
            return self._loading
        state, detail = self._state()
        retry = time.monotonic() >= self._failed_at + _LOAD_RETRY_S
        if state is ModelState.NOT_PREPARED or (state is ModelState.FAILED and not retry):
            raise ModelUnavailable(f"{self._entry.title} cannot answer. {detail}")
        self._failure = None
        future: Future[ReadyModel] = Future()
        self._loading = future
        try:
            worker.submit(_LoadJob(self, future), bounded=False)
        except InferenceError:
            self._loading = None
            raise
        return future

    def load_now(self) -> ReadyModel:
        """In the worker's thread. Raises ModelUnavailable."""
        try:
            self.ready = load_model(self._entry, self._settings)
        except ModelUnavailable as error:
            self._failure, self._failed_at = str(error), time.monotonic()
            raise
        finally:
            self._loading = None
        return self.ready

    def unload(self) -> None:
        self.ready = None

    def _state(self) -> tuple[ModelState, str]:
        if self.ready is not None:
            return ModelState.READY, f"Ready, runs on {self.ready.model.runs_on}."
        if self._loading is not None:
            return ModelState.LOADING, "Being loaded; the request waits for it."
        if self._failure is not None:
            return ModelState.FAILED, self._failure
        self._manifest = prepared_manifest(
            self._entry.name, self._settings.models_dir, (self._entry,)
        )
        if self._manifest is None:
            return ModelState.NOT_PREPARED, self._entry.how_to_prepare
        return ModelState.PREPARED, "Prepared; the first request loads it."


class _LoadJob:
    def __init__(self, slot: _Slot, future: "Future[ReadyModel]") -> None:
        self._slot = slot
        self._future = future

    def run(self) -> None:
        try:
            ready = self._slot.load_now()
        except InferenceError as error:
            self._future.set_exception(error)
        except Exception as error:  # noqa: BLE001  whoever waits must hear of any failure
            _log.exception("loading a model broke off")
            self._future.set_exception(
                ModelUnavailable(f"the model cannot be loaded ({type(error).__name__})")
            )
        else:
            self._future.set_result(ready)

    def fail(self, error: InferenceError) -> None:
        self._future.set_exception(error)


class _GenerationJob:
    """items: what the request's task awaits; filled from the worker through the loop."""

    def __init__(self, model: LoadedModel, request: GenerationRequest, timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._model = model
        self._request = request
        self._timeout_s = timeout_s
        self.items: asyncio.Queue[Delta | Completion | InferenceError] = asyncio.Queue()
        self.cancelled = threading.Event()
        self.closing = False

    def run(self) -> None:
        watch = Watch(cancelled=self.cancelled.is_set, timeout_s=self._timeout_s)
        try:
            self._put(generate(self._model, self._request, self._put, watch))
        except GenerationCancelled:
            if self.closing:
                self._put(InferenceError("the inference engine is closing"))
        except InferenceError as error:
            self._put(error)
        except Exception as error:  # noqa: BLE001  one request's failure is its own
            _log.exception("a generation broke off")
            # The step may have left the buffer half written.
            self._model.session.forget()
            self._put(InferenceError(f"the model broke off ({type(error).__name__})"))

    def fail(self, error: InferenceError) -> None:
        self._put(error)

    def _put(self, item: Delta | Completion | InferenceError) -> None:
        try:
            self._loop.call_soon_threadsafe(self.items.put_nowait, item)
        except RuntimeError:
            # The loop is closed, so nobody waits for this answer any more.
            self.cancelled.set()


def _stop(job: Job) -> None:
    if isinstance(job, _GenerationJob):
        job.closing = True
        job.cancelled.set()
