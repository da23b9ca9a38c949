"""The part of the composition root that builds what answers and bills messages."""

from datetime import timedelta

import structlog

from application.chat.commands import ChatLimits
from application.chat.inference import InferenceEngine
from application.chat.inference_errors import InferenceError
from application.chat.price_list import PACKAGES, PriceList
from application.chat.process import ChatProcess
from application.chat.quotas import QuotaLimits, Quotas
from application.chat.sweeper import Sweeper, SweeperLimits
from application.conversations import Conversations
from application.ledger.ledger import Ledger
from application.read_models import ReadModels
from infrastructure.inference.models.engine import OnnxEngine, OnnxEngineSettings
from infrastructure.inference.shared_answers import SharedAnswers, SharingLimits
from infrastructure.process.clock_ids import SystemClock, TimeOrderedIds
from infrastructure.settings.inference import Provider
from infrastructure.settings.service import Settings

log = structlog.get_logger()


def price_list(settings: Settings) -> PriceList:
    return PriceList(
        default_model=settings.default_model,
        prices=settings.prices,
        cached_price=settings.cached_price,
        packages=PACKAGES,
    )


def build_quotas(settings: Settings) -> Quotas:
    return Quotas(
        QuotaLimits(
            free_writes_per_hour=settings.free_writes_per_hour,
            free_writes_per_day=settings.free_writes_per_day,
            unpaid_tokens_per_hour=settings.unpaid_tokens_per_hour,
        )
    )


def build_conversations(ledger: Ledger, quotas: Quotas) -> Conversations:
    return Conversations(ledger=ledger, clock=SystemClock(), free_writes=quotas.free_writes)


def build_chat(
    settings: Settings, ledger: Ledger, engine: InferenceEngine, quotas: Quotas
) -> ChatProcess:
    return ChatProcess(
        ledger=ledger,
        engine=engine,
        price_list=price_list(settings),
        clock=SystemClock(),
        ids=TimeOrderedIds(),
        limits=ChatLimits(
            response_tokens_max=settings.max_response_length,
            generation_timeout=timedelta(seconds=settings.generation_timeout_s),
            hold_ttl=timedelta(seconds=settings.hold_ttl_s),
            settle_retry=timedelta(seconds=settings.settle_retry_s),
        ),
        quotas=quotas,
    )


def share_answers(settings: Settings, engine: InferenceEngine) -> InferenceEngine:
    if settings.response_cache_bytes_max == 0:
        return engine
    return SharedAnswers(
        engine,
        SharingLimits(
            bytes_max=settings.response_cache_bytes_max,
            ttl_s=settings.response_cache_ttl_s,
            across_users=settings.response_cache_across_users,
        ),
    )


def build_sweeper(settings: Settings, ledger: Ledger, read_models: ReadModels) -> Sweeper:
    return Sweeper(
        ledger=ledger,
        read_models=read_models,
        clock=SystemClock(),
        limits=SweeperLimits(interval_s=settings.sweep_interval_s),
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
            rows_each_max=settings.inference_rows_max_per_user,
            queue_max=settings.inference_queue_max,
            queue_each_max=settings.inference_queue_max_per_user,
            prefill_chunk_tokens=settings.inference_chunk_tokens,
            kv_bytes_max=settings.inference_kv_mb * 1024**2,
            kept_bytes_max=settings.inference_kept_mb * 1024**2,
            memory_bytes_max=settings.inference_memory_mb * 1024**2,
            gpu_bytes_max=settings.inference_gpu_memory_mb * 1024**2,
            cuda_graphs=settings.inference_cuda_graphs,
            generation_timeout_s=settings.generation_timeout_s,
        )
    )


async def preload(engine: OnnxEngine, model: str) -> None:
    """Load the model now, so that the first message does not wait for the weights."""
    try:
        await engine.preload(model)
    except InferenceError as error:
        log.warning("model_not_ready", model=model, reason=str(error))
