"""The health of every part of the service, in sentences for the operator."""

import asyncio
from collections.abc import Callable

from application.chat.inference import InferenceEngine, ModelState
from application.read_models import ReadModels
from infrastructure.monitoring.log_end import LogEnd
from infrastructure.monitoring.read_model_progress import ReadModelProgress
from infrastructure.process.condition import Condition, State
from infrastructure.proofs.checkpoints.service import CheckpointService
from infrastructure.read_models.service import PartStatus, ProjectionService, ProjectionStatus
from interfaces.http.services import Component

_CAN_ANSWER = {ModelState.READY, ModelState.LOADING, ModelState.PREPARED}
_WELL = {State.WORKING, State.STANDBY}


class Health:
    def __init__(
        self,
        *,
        read_models: ReadModels,
        projections: ProjectionService,
        checkpoints: CheckpointService,
        log_end: LogEnd,
        progress: ReadModelProgress,
        failing: Callable[[], tuple[str, ...]],
        engine: InferenceEngine,
        default_model: str,
    ) -> None:
        self._read_models = read_models
        self._projections = projections
        self._checkpoints = checkpoints
        self._log_end = log_end
        self._progress = progress
        self._failing = failing
        self._engine = engine
        self._default_model = default_model
        self._asking: asyncio.Task[list[Component]] | None = None

    async def components(self) -> list[Component]:
        """Anybody may ask at any rate. All who ask at the same time share one answer, so that they
        do not take the database's connections from paying users."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> list[Component]:
        # Together, so that a database that is away costs one timeout and not three.
        of_database = await asyncio.gather(
            self._database(), self._ledger(), self._read_model_progress()
        )
        status = self._projections.status()
        relay = _component("relay", status.relay)
        checkpoints = _component("checkpoints", _status(self._checkpoints.signer))
        published = _component("checkpoints in NATS", _status(self._checkpoints.publisher))
        return [
            *of_database,
            _component("projector", status.projector),
            # Healthy in any state: without NATS the read models are fed from PostgreSQL, so the
            # service can take messages.
            Component(name=relay.name, healthy=True, detail=relay.detail),
            # Healthy as well: forged messages were refused.
            Component(name="messages", healthy=True, detail=_messages(status)),
            # Healthy as well: events are stored before they are signed.
            Component(name=checkpoints.name, healthy=True, detail=checkpoints.detail),
            Component(name=published.name, healthy=True, detail=published.detail),
            self._model(),
            *(self._lost(name) for name in self._failing()),
        ]

    async def _database(self) -> Component:
        healthy = await self._read_models.ping()
        detail = "PostgreSQL answers" if healthy else "PostgreSQL does not answer"
        return Component(name="database", healthy=healthy, detail=detail)

    async def _ledger(self) -> Component:
        trouble = await self._log_end.trouble()
        detail = "commits are stored" if trouble is None else f"commits are not stored: {trouble}"
        return Component(name="ledger", healthy=trouble is None, detail=detail)

    async def _read_model_progress(self) -> Component:
        trouble = await self._progress.trouble()
        detail = "follow the log" if trouble is None else trouble
        return Component(name="read models", healthy=trouble is None, detail=detail)

    def _lost(self, name: str) -> Component:
        return Component(
            name=f"embedded {name}",
            healthy=False,
            detail="ends as soon as it is started; see its log and mend what it says. It is tried"
            " again every minute",
        )

    def _model(self) -> Component:
        for card in self._engine.models():
            if card.name == self._default_model:
                return Component(
                    name=f"model {card.name}",
                    healthy=card.state in _CAN_ANSWER,
                    detail=f"{card.state.value}: {card.detail}",
                )
        return Component(
            name=f"model {self._default_model}", healthy=False, detail="not in the catalogue"
        )


def _status(condition: Condition) -> PartStatus:
    return PartStatus(state=condition.state, last_error=condition.last_error)


def _messages(status: ProjectionStatus) -> str:
    if not status.forged_messages:
        return "none was forged"
    return (
        f"{status.forged_messages} in NATS were not this ledger's and were refused, the last"
        f" because {status.last_forgery}: somebody else can publish there. Read models are fed from"
        " PostgreSQL instead"
    )


def _component(name: str, part: PartStatus) -> Component:
    healthy = part.state in _WELL
    # An error that is over is in the log; shown here it would look like a present fault.
    error = "" if healthy or part.last_error is None else f" ({part.last_error})"
    return Component(name=name, healthy=healthy, detail=f"{part.state.value}{error}")
