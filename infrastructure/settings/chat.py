"""The settings of a message: what it costs, what a new user has, and how long it may take."""

from decimal import Decimal
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from domain.credits import credits_decimal, parse_credits
from domain.errors import InvalidAmount
from domain.pricing.price import Price
from infrastructure.settings.prices import PriceOf, PriceText, parse_price
from infrastructure.settings.types import Count, Seconds


class ChatSettings(BaseSettings):
    default_model: str = Field("gemma3-270m", description="For messages that name no model")

    # The table of prices: a model that is sold has its line here, and stands nowhere else.
    gemma3_270m_cost: Annotated[PriceText, PriceOf("gemma3-270m")] = Field(
        "2",
        description="Price of Gemma 3 270M: credits a message, such as `2`, or credits per 1,000"
        " tokens that it reads and writes, such as `0.4/1.2`",
    )
    gemma3_1b_cost: Annotated[PriceText, PriceOf("gemma3-1b")] = Field(
        "10", description="Price of Gemma 3 1B, written in the same way"
    )
    gemma3_4b_cost: Annotated[PriceText, PriceOf("gemma3-4b")] = Field(
        "25", description="Price of Gemma 3 4B, written in the same way"
    )
    gemma3_12b_cost: Annotated[PriceText, PriceOf("gemma3-12b")] = Field(
        "50", description="Price of Gemma 3 12B, written in the same way"
    )

    welcome_credits: Decimal = Field(
        Decimal(100), ge=0, description="Promotional credits of a new user"
    )

    free_writes_per_hour: Count = Field(
        120,
        description="Commands of one user in an hour that cost nothing (renaming, deleting, an"
        " answer from the cache), because their events are kept for ever; as many messages may end"
        " without being paid for",
    )
    free_writes_per_day: Count = Field(
        600, description="The limit of FREE_WRITES_PER_HOUR, for a whole day"
    )
    unpaid_tokens_per_hour: Count = Field(
        40_000,
        description="Tokens that models may read and write in an hour for one user without being"
        " paid: for answers that were stopped before their first word, have no text or are not"
        " finished yet",
    )

    generation_timeout_s: Seconds = Field(300, description="Longest generation of one answer")
    settle_retry_s: Seconds = Field(
        30, description="How long a finished answer waits for a database that is away"
    )
    hold_ttl_s: Seconds = Field(
        600,
        description="How long a hold is kept for an answer that is never settled; then it expires",
    )
    sweep_interval_s: Seconds = Field(30, description="How often expired holds are released")
    cached_response_cost: PriceText = Field(
        "0",
        description="Price of an answer that was generated for another request, written like a"
        " model's",
    )

    @field_validator("welcome_credits")
    @classmethod
    def _exact_credits(cls, value: Decimal) -> Decimal:
        try:
            return value if value == 0 else credits_decimal(parse_credits(value))
        except InvalidAmount as error:
            raise ValueError(str(error)) from None

    @property
    def prices(self) -> dict[str, Price]:
        """By the name of the model."""
        return {
            mark.model: parse_price(getattr(self, setting))
            for setting, field in ChatSettings.model_fields.items()
            for mark in field.metadata
            if isinstance(mark, PriceOf)
        }

    @property
    def cached_price(self) -> Price:
        return parse_price(self.cached_response_cost)

    @property
    def welcome_micro(self) -> int:
        return parse_credits(self.welcome_credits) if self.welcome_credits else 0
