"""The composition root: builds infrastructure and joins it to the application. The other files of
this room are its parts."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog

from application.accounts import Accounts
from application.chat.inference import InferenceEngine
from application.ledger.event_macs import event_macs
from application.ledger.keys import LedgerKeys
from application.ledger.ledger import Ledger
from infrastructure.event_store.recorder import GroupCommitRecorder
from infrastructure.inference.models.engine import OnnxEngine
from infrastructure.monitoring.log_end import LogEnd
from infrastructure.monitoring.read_model_progress import ReadModelProgress
from infrastructure.process.clock_ids import SystemClock, TimeOrderedIds
from infrastructure.process.garbage import collect_seldom
from infrastructure.process.tasks import cancel_until_done
from infrastructure.read_models.position_board import PositionBoard
from infrastructure.read_models.queries import PostgresReadModels
from infrastructure.read_models.query_pool import ReadPoolLimits
from infrastructure.read_models.service import ProjectionService
from infrastructure.relay.settings import ProjectionSettings
from infrastructure.settings.service import Settings
from interfaces.composition.chat import (
    build_chat,
    build_conversations,
    build_engine,
    build_quotas,
    build_sweeper,
    preload,
    price_list,
    share_answers,
)
from interfaces.composition.endpoints import Endpoints, open_ledger
from interfaces.composition.health import Health
from interfaces.composition.identity import (
    build_caller_addresses,
    build_sign_in_guard,
    build_tokens,
    ensure_admin,
    open_users,
)
from interfaces.composition.ledger_keys import ledger_keys
from interfaces.composition.proofs import build_checkpoints, build_proofs
from interfaces.http.exports import ExportLimits
from interfaces.http.limits.rate_limits import PositionWaits, RateLimit
from interfaces.http.services import HttpServices

log = structlog.get_logger()


@asynccontextmanager
async def open_services(
    settings: Settings, endpoints: Endpoints, engine: InferenceEngine | None = None
) -> AsyncIterator[HttpServices]:
    """Starts everything that the API needs, and stops it in the opposite order.

    engine: used in place of our own models.
    """
    async with AsyncExitStack() as stack:
        keys = ledger_keys(settings, endpoints)
        ledger = open_ledger(settings, endpoints, keys)
        stack.push_async_callback(ledger.aclose)
        users = stack.enter_context(open_users(settings, ledger))
        board = PositionBoard()
        read_models = _build_read_models(settings, endpoints, board)
        await read_models.start()
        stack.push_async_callback(read_models.stop)
        projections = _build_projections(settings, endpoints, board, keys)
        await projections.start()
        stack.push_async_callback(projections.stop)
        checkpoints = build_checkpoints(settings, endpoints.service_url, endpoints.nats_url)
        await stack.enter_async_context(checkpoints.running())
        engine = engine or build_engine(settings)
        stack.push_async_callback(engine.close)
        await ensure_admin(settings, endpoints.service_url, ledger, users)
        sharing = share_answers(settings, engine)
        quotas = build_quotas(settings)
        chat = build_chat(settings, ledger, sharing, quotas)
        stack.push_async_callback(chat.close)
        _run_in_background(stack, build_sweeper(settings, ledger, read_models).run())
        if isinstance(engine, OnnxEngine):
            _run_in_background(stack, preload(engine, settings.default_model))
        collect_seldom()
        yield HttpServices(
            users=users,
            accounts=Accounts(ledger=ledger, clock=SystemClock(), ids=TimeOrderedIds()),
            conversations=build_conversations(ledger, quotas),
            chat=chat,
            engine=sharing,
            read_models=read_models,
            proofs=build_proofs(settings, read_models, keys),
            price_list=price_list(settings),
            tokens=build_tokens(settings),
            request_limit=RateLimit(settings.rate_limit_per_minute, what="requests"),
            address_limit=RateLimit(settings.address_requests_per_minute, what="requests"),
            refresh_limit=RateLimit(settings.refreshes_per_minute, what="refreshes"),
            registration_limit=RateLimit(settings.registrations_per_minute, what="registrations"),
            sign_in_guard=build_sign_in_guard(settings),
            caller_addresses=build_caller_addresses(settings),
            position_waits=PositionWaits(
                settings.position_waits_max, settings.read_your_writes_timeout_s
            ),
            export_limits=ExportLimits(
                per_user_max=settings.exports_per_user_max, timeout_s=settings.export_timeout_s
            ),
            request_body_bytes_max=settings.request_body_bytes_max,
            development=not settings.is_production,
            new_id=TimeOrderedIds().new_id,
            health=Health(
                read_models=read_models,
                projections=projections,
                checkpoints=checkpoints,
                log_end=_build_log_end(endpoints, ledger, read_models, keys),
                progress=ReadModelProgress(read_models),
                failing=endpoints.failing,
                engine=engine,
                default_model=settings.default_model,
            ).components,
        )


def _build_projections(
    settings: Settings, endpoints: Endpoints, board: PositionBoard, keys: LedgerKeys
) -> ProjectionService:
    return ProjectionService(
        endpoints.service_url,
        endpoints.nats_url,
        ProjectionSettings(stream=settings.nats_stream),
        board,
        keys=keys,
        nats_read_url=endpoints.nats_read_url,
    )


def _build_read_models(
    settings: Settings, endpoints: Endpoints, board: PositionBoard
) -> PostgresReadModels:
    limits = ReadPoolLimits(
        connections_max=settings.read_pool_max, connection_timeout_s=settings.database_timeout_s
    )
    return PostgresReadModels(endpoints.service_url, limits, board)


def _build_log_end(
    endpoints: Endpoints, ledger: Ledger, read_models: PostgresReadModels, keys: LedgerKeys
) -> LogEnd:
    recorder = ledger.application.recorder
    assert isinstance(recorder, GroupCommitRecorder)
    return LogEnd(endpoints.service_url, read_models, recorder, event_macs(keys))


def _run_in_background(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)

    stack.push_async_callback(cancel_until_done, [task])
