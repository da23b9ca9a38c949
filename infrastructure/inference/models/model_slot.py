"""A model of the catalogue and its state: not prepared, prepared, loading, ready or failed."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager

from application.chat.inference import ModelCard, ModelState
from application.chat.inference_errors import InferenceError, ModelTooLarge, ModelUnavailable
from infrastructure.inference.answers.threads import LOADING
from infrastructure.inference.answers.turnstile import Turnstile
from infrastructure.inference.models.loading import ReadyModel, load_model
from infrastructure.inference.prepared.catalogue import CatalogueEntry
from infrastructure.inference.prepared.manifest import Manifest, prepared_manifest
from infrastructure.inference.sessions.engine_settings import OnnxEngineSettings
from infrastructure.inference.sessions.kernels import computed_on


class NoRoomNow(ModelTooLarge):
    """Other models are answering in the memory that this one needs."""


_log = logging.getLogger(__name__)

# A context for a model's title and manifest, within which the model is loaded.
RoomFor = Callable[[str, Manifest], AbstractContextManager[None]]

# How long after a failed load a request tries again.
_LOAD_RETRY_S = 30.0


class ModelSlot:
    """Used by the event loop and by the thread that loads.

    used_at: monotonic seconds of the last request. ready: None while not loaded.
    """

    def __init__(
        self, entry: CatalogueEntry, settings: OnnxEngineSettings, turnstile: Turnstile
    ) -> None:
        self._entry = entry
        self._settings = settings
        self._turnstile = turnstile
        self._manifest: Manifest | None = None
        self._loading: Future[ReadyModel] | None = None
        self._failure: str | None = None
        self._failed_at = 0.0
        self._closed = False
        self.used_at = 0.0
        self.ready: ReadyModel | None = None

    @property
    def title(self) -> str:
        return self._entry.title

    @property
    def name(self) -> str:
        return self._entry.name

    def card(self) -> ModelCard:
        state, detail = self._state()
        manifest = self._manifest if state is not ModelState.NOT_PREPARED else None
        window = min(self._entry.context_tokens, self._settings.context_tokens_max)
        if manifest is not None:
            window = min(window, manifest.config.positions_max)
        ready = self.ready
        return ModelCard(
            name=self._entry.name,
            title=self._entry.title,
            context_tokens=window,
            state=state,
            detail=detail,
            licence=self._entry.licence,
            licence_url=self._entry.licence_url,
            manifest_hash=manifest.hash if manifest else None,
            runs_on=ready.runs_on if ready else None,
            computed_on=computed_on(ready.runs_on) if ready else None,
        )

    def load(self, room_for: RoomFor) -> "Future[ReadyModel]":
        """The load under way, or a new one in a thread of its own, which runs within `room_for`.

        Raises ModelUnavailable if the model is not prepared, or failed to load a moment ago.
        """
        if self._loading is not None:
            return self._loading
        state, detail = self._state()
        retry = time.monotonic() >= self._failed_at + _LOAD_RETRY_S
        if state is ModelState.NOT_PREPARED or (state is ModelState.FAILED and not retry):
            raise ModelUnavailable(f"{self._entry.title} cannot answer. {detail}")
        self._failure = None
        future: Future[ReadyModel] = Future()
        self._loading = future
        # A daemon: loading can't be stopped, and the end of the process should not wait for it.
        threading.Thread(
            target=self._load, args=(future, room_for), name=LOADING, daemon=True
        ).start()
        return future

    def close(self, timeout_s: float) -> None:
        """Unload now; a model that is still being loaded is unloaded as soon as it is."""
        self._closed = True
        self.unload(timeout_s)

    def unload_if_idle(self, timeout_s: float) -> bool:
        """Unload the model unless it is answering. Returns whether it did."""
        ready = self.ready
        if ready is None or not ready.worker.close_if_idle():
            return False
        self.unload(timeout_s)
        return True

    def unload(self, timeout_s: float) -> None:
        ready, self.ready = self.ready, None
        if ready is not None:
            ready.worker.close(timeout_s)

    def _load(self, future: "Future[ReadyModel]", room_for: RoomFor) -> None:
        try:
            ready = self._load_now(room_for)
        except NoRoomNow as error:
            # This does not mark the model as failed: the next request may find room.
            self._loading = None
            future.set_exception(error)
        except InferenceError as error:
            self._fail(future, error)
        except MemoryError:
            self._fail(future, ModelUnavailable(f"there is no memory for {self._entry.title}"))
        except Exception as error:  # noqa: BLE001  those who wait must learn of any failure
            _log.exception("loading a model broke off")
            reason = f"the model cannot be loaded ({type(error).__name__})"
            self._fail(future, ModelUnavailable(reason))
        else:
            self.ready, self._loading = ready, None
            future.set_result(ready)
            if self._closed:
                self.unload(timeout_s=0)

    def _load_now(self, room_for: RoomFor) -> ReadyModel:
        manifest = self._manifest
        assert manifest is not None, "only a prepared model is loaded"
        with room_for(self._entry.title, manifest):
            self.used_at = time.monotonic()
            return load_model(self._entry, self._settings, self._turnstile)

    def _fail(self, future: "Future[ReadyModel]", error: InferenceError) -> None:
        self._failure, self._failed_at = str(error), time.monotonic()
        self._loading = None
        future.set_exception(error)

    def _state(self) -> tuple[ModelState, str]:
        ready = self.ready
        if ready is not None:
            taken = ready.needs.device
            of_device = f" and takes {taken / 1e6:,.0f} MB of its memory" if taken else ""
            return ModelState.READY, f"Ready, runs on {ready.runs_on}{of_device}."
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
