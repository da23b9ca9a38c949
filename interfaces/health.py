"""What is well and what is not, in sentences for the operator."""

from infrastructure.nats.projection_service import ProjectionService

from application.inference import InferenceEngine, ModelState
from application.read_models import ReadModels
from interfaces.http.services import Component

_CAN_ANSWER = {ModelState.READY, ModelState.LOADING, ModelState.PREPARED}


class Health:
    def __init__(
        self,
        *,
        read_models: ReadModels,
        projections: ProjectionService,
        engine: InferenceEngine,
        default_model: str,
    ) -> None:
        self._read_models = read_models
        self._projections = projections
        self._engine = engine
        self._default_model = default_model

    async def components(self) -> list[Component]:
        return [await self._database(), self._projection(), self._relay(), self._model()]

    async def _database(self) -> Component:
        healthy = await self._read_models.ping()
        detail = "PostgreSQL answers" if healthy else "PostgreSQL does not answer"
        return Component(name="database", healthy=healthy, detail=detail)

    def _projection(self) -> Component:
        status = self._projections.status()
        return Component(
            name="projections", healthy=status.projecting, detail=status.projection_detail
        )

    def _relay(self) -> Component:
        # Without NATS the read models are fed from PostgreSQL, so messages can still be taken.
        status = self._projections.status()
        return Component(name="relay", healthy=True, detail=status.relay_detail)

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
