"""Builds what answers and bills messages."""

from datetime import timedelta

from application.chat import ChatProcess
from application.chat_commands import ChatLimits
from application.inference import InferenceEngine
from application.ledger import Ledger
from application.price_list import PACKAGES, PriceList
from application.read_models import ReadModels
from application.sweeper import Sweeper, SweeperLimits
from infrastructure.identity import SystemClock, TimeOrderedIds
from infrastructure.settings import Settings, parse_price
from infrastructure.shared_answers import SharedAnswers, SharingLimits


def price_list(settings: Settings) -> PriceList:
    return PriceList(
        default_model=settings.default_model,
        prices=settings.prices,
        cached_price=parse_price(settings.cached_response_cost),
        packages=PACKAGES,
    )


def build_chat(settings: Settings, ledger: Ledger, engine: InferenceEngine) -> ChatProcess:
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
