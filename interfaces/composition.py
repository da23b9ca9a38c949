"""The composition root: the only place that builds infrastructure and joins it to the
application."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from application.accounts import Accounts
from application.conversations import Conversations
from application.inference import InferenceEngine, InferenceError
from application.ledger import Ledger, LedgerLimits
from application.users import UserPolicy, Users
from domain.users.events import UserRole
from infrastructure.embedded.joining import join_servers
from infrastructure.embedded.servers import DataDirInUse, EmbeddedServers, EmbeddedSettings
from infrastructure.garbage import collect_seldom
from infrastructure.identity import BcryptHasher, SystemClock, TimeOrderedIds
from infrastructure.inference_settings import Provider
from infrastructure.nats.service import ProjectionService
from infrastructure.nats.settings import ProjectionSettings
from infrastructure.onnx.engine import OnnxEngine, OnnxEngineSettings
from infrastructure.postgres.migrate import migrate
from infrastructure.postgres.position_board import PositionBoard
from infrastructure.postgres.read_models import PostgresReadModels, ReadPoolLimits
from infrastructure.postgres.recorder import open_application
from infrastructure.secret_files import secret_from
from infrastructure.settings import (
    DEVELOPMENT_ADMIN_PASSWORD,
    Settings,
    SettingsError,
)
from infrastructure.tasks import cancel_until_done
from infrastructure.tokens import Tokens
from interfaces.chat_composition import build_chat, build_sweeper, price_list, share_answers
from interfaces.composition_proofs import build_checkpoints, build_proofs
from interfaces.health import Health
from interfaces.http.rate_limits import RateLimit
from interfaces.http.services import HttpServices

log = structlog.get_logger()

ADMIN_USERNAME = "admin"
ADMIN_EMAIL = "admin@example.com"


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """Where the servers are. owner_url: for migrations alone. failing: embedded servers that
    end as soon as they are started."""

    owner_url: str
    service_url: str
    nats_url: str
    failing: Callable[[], tuple[str, ...]] = tuple


@contextmanager
def open_endpoints(
    settings: Settings, on_progress: Callable[[str], None], *, may_join: bool = False
) -> Iterator[Endpoints]:
    """The operator's servers, or our own for those that are not configured.

    may_join: those of a service that runs on the same data folder will do.
    Raises EmbeddedServerError, SettingsError.
    """
    settings.check_service()
    service_url = settings.database_url.get_secret_value()
    nats_url = settings.nats_url.get_secret_value()
    if service_url and nats_url:
        owner_url = settings.migration_database_url.get_secret_value() or service_url
        yield Endpoints(owner_url=owner_url, service_url=service_url, nats_url=nats_url)
        return
    if service_url or nats_url:
        raise SettingsError("set both DATABASE_URL and NATS_URL, or neither for embedded servers")
    data_dir = settings.data_dir.resolve()
    try:
        embedded = EmbeddedServers.start(EmbeddedSettings(data_dir=data_dir), on_progress)
    except DataDirInUse:
        joined = join_servers(data_dir) if may_join else None
        if joined is None:
            raise
        yield Endpoints(
            owner_url=joined.owner_database_url,
            service_url=joined.service_database_url,
            nats_url=joined.nats_url,
        )
        return
    try:
        yield Endpoints(
            owner_url=embedded.owner_database_url,
            service_url=embedded.service_database_url,
            nats_url=embedded.nats_url,
            failing=lambda: embedded.failing,
        )
    finally:
        embedded.stop()


def open_ledger(settings: Settings, endpoints: Endpoints) -> Ledger:
    """close() releases it."""
    application = open_application(
        endpoints.service_url,
        threads=settings.ledger_threads,
        connect_timeout_s=settings.database_timeout_s,
        cached_streams_max=settings.cached_streams_max,
    )
    limits = LedgerLimits(
        threads=settings.ledger_threads,
        conflict_retries_max=settings.conflict_retries_max,
        wait_s_max=settings.database_timeout_s,
    )
    return Ledger(application, SystemClock(), limits)


def migrate_schema(settings: Settings, endpoints: Endpoints) -> int:
    """Raises MigrationError, psycopg.Error."""
    return migrate(
        endpoints.owner_url, endpoints.service_url, connect_timeout_s=settings.database_timeout_s
    )


def build_users(settings: Settings, ledger: Ledger, hasher: BcryptHasher) -> Users:
    return Users(
        ledger=ledger,
        clock=SystemClock(),
        ids=TimeOrderedIds(),
        hasher=hasher,
        policy=UserPolicy(
            welcome_micro=settings.welcome_micro,
            session_lifetime=timedelta(days=settings.refresh_expire_days),
        ),
    )


def build_engine(settings: Settings) -> OnnxEngine:
    return OnnxEngine(
        OnnxEngineSettings(
            models_dir=settings.prepared_models_dir,
            provider=settings.inference_provider.value,
            require_provider=(
                settings.is_production and settings.inference_provider is Provider.CUDA
            ),
            threads=settings.inference_threads or None,
            spin_us=settings.inference_spin_us,
            context_tokens_max=settings.context_tokens_max,
            rows_max=settings.inference_rows_max,
            queue_max=settings.inference_queue_max,
            prefill_chunk_tokens=settings.inference_chunk_tokens,
            kv_bytes_max=settings.inference_kv_mb * 1024**2,
            kept_bytes_max=settings.inference_kept_mb * 1024**2,
            memory_bytes_max=settings.inference_memory_mb * 1024**2,
            gpu_bytes_max=settings.inference_gpu_memory_mb * 1024**2,
            cuda_graphs=settings.inference_cuda_graphs,
            generation_timeout_s=settings.generation_timeout_s,
        )
    )


def build_tokens(settings: Settings) -> Tokens:
    return Tokens(
        secret=secret_from(
            settings.jwt_secret_key.get_secret_value(), settings.data_dir / "jwt_secret_key"
        ),
        algorithm=settings.jwt_algorithm,
        access_lifetime=timedelta(minutes=settings.jwt_expire_minutes),
        clock=SystemClock(),
    )


@asynccontextmanager
async def open_services(
    settings: Settings, endpoints: Endpoints, engine: InferenceEngine | None = None
) -> AsyncIterator[HttpServices]:
    """Everything the API serves, running; and everything stopped in the opposite order.

    engine: in the place of our own models.
    """
    async with AsyncExitStack() as stack:
        hasher = BcryptHasher(settings.bcrypt_rounds)
        stack.callback(hasher.close)
        ledger = open_ledger(settings, endpoints)
        stack.push_async_callback(ledger.aclose)
        users = build_users(settings, ledger, hasher)
        board = PositionBoard()
        read_models = _build_read_models(settings, endpoints, board)
        await read_models.start()
        stack.push_async_callback(read_models.stop)
        projections = ProjectionService(
            endpoints.service_url,
            endpoints.nats_url,
            ProjectionSettings(stream=settings.nats_stream),
            board,
        )
        await projections.start()
        stack.push_async_callback(projections.stop)
        checkpoints = build_checkpoints(settings, endpoints.service_url, endpoints.nats_url)
        await stack.enter_async_context(checkpoints.running())
        engine = engine or build_engine(settings)
        stack.push_async_callback(engine.close)
        await _ensure_admin(settings, users)
        sharing = share_answers(settings, engine)
        chat = build_chat(settings, ledger, sharing)
        stack.push_async_callback(chat.close)
        _run_in_background(stack, build_sweeper(settings, ledger, read_models).run())
        if isinstance(engine, OnnxEngine):
            _run_in_background(stack, _preload(engine, settings.default_model))
        collect_seldom()
        yield HttpServices(
            users=users,
            accounts=Accounts(ledger=ledger, clock=SystemClock(), ids=TimeOrderedIds()),
            conversations=Conversations(ledger=ledger, clock=SystemClock()),
            chat=chat,
            engine=sharing,
            read_models=read_models,
            proofs=build_proofs(settings, read_models),
            price_list=price_list(settings),
            tokens=build_tokens(settings),
            request_limit=RateLimit(settings.rate_limit_per_minute, what="requests"),
            sign_in_limit=RateLimit(settings.sign_in_attempts_per_minute, what="sign-in attempts"),
            registration_limit=RateLimit(settings.registrations_per_minute, what="registrations"),
            read_your_writes_timeout_s=settings.read_your_writes_timeout_s,
            request_body_bytes_max=settings.request_body_bytes_max,
            development=not settings.is_production,
            new_id=TimeOrderedIds().new_id,
            health=Health(
                read_models=read_models,
                projections=projections,
                checkpoints=checkpoints,
                failing=endpoints.failing,
                engine=engine,
                default_model=settings.default_model,
            ).components,
        )


def _build_read_models(
    settings: Settings, endpoints: Endpoints, board: PositionBoard
) -> PostgresReadModels:
    limits = ReadPoolLimits(
        connections_max=settings.read_pool_max, connection_timeout_s=settings.database_timeout_s
    )
    return PostgresReadModels(endpoints.service_url, limits, board)


def _run_in_background(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)

    stack.push_async_callback(cancel_until_done, [task])


async def _preload(engine: OnnxEngine, model: str) -> None:
    """So that the first message does not wait for the weights."""
    try:
        await engine.preload(model)
    except InferenceError as error:
        log.warning("model_not_ready", model=model, reason=str(error))


async def _ensure_admin(settings: Settings, users: Users) -> None:
    """Development starts with a known administrator; production refuses one with that password.

    Raises SettingsError.
    """
    admin = await users.find(ADMIN_USERNAME)
    if settings.is_production:
        if admin is not None and await users.has_password(admin, DEVELOPMENT_ADMIN_PASSWORD):
            raise SettingsError(
                "the administrator still has the development password; change it with"
                " `chatledger users set-password admin` before production"
            )
        return
    if admin is None:
        await users.register(
            username=ADMIN_USERNAME,
            email=ADMIN_EMAIL,
            password=DEVELOPMENT_ADMIN_PASSWORD,
            role=UserRole.ADMIN,
        )
        log.warning(
            "development_admin_created",
            username=ADMIN_USERNAME,
            advice="its password is the documented one; change it before anybody else can sign in",
        )
