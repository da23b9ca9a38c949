"""The settings of a message: what it costs, what a new user has, and how long it may take."""

from decimal import Decimal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from domain.credits import credits_decimal, parse_credits
from domain.errors import InvalidAmount
from domain.pricing.price import Price, per_message, per_token
from infrastructure.settings.types import Count, Seconds


class ChatSettings(BaseSettings):
    default_model: str = Field("gemma3-270m", description="For messages that name no model")
    gemma3_270m_cost: str = Field(
        "2", description="Credits a message, or `prompt/completion` credits per 1,000 tokens"
    )
    gemma3_1b_cost: str = Field("10", description="The same for Gemma 3 1B")
    gemma3_4b_cost: str = Field("25", description="The same for Gemma 3 4B")
    gemma3_12b_cost: str = Field("50", description="The same for Gemma 3 12B")
    welcome_credits: Decimal = Field(
        Decimal(100), ge=0, description="Promotional credits of a new user"
    )

    free_writes_per_hour: Count = Field(
        120,
        description="What a user may do in an hour that is kept for ever and costs nothing: rename,"
        " delete, repeat a kept answer; and as many messages that end unpaid",
    )
    free_writes_per_day: Count = Field(600, description="The same in a day")
    unpaid_tokens_per_hour: Count = Field(
        40_000,
        description="Tokens that models may read and write in an hour for answers of a user that"
        " were left before their first word, have no text, or are not there yet",
    )

    generation_timeout_s: Seconds = Field(300, description="Longest generation of one answer")
    settle_retry_s: Seconds = Field(
        30, description="How long a finished answer waits for a database that is away"
    )
    hold_ttl_s: Seconds = Field(600, description="When a hold of an unfinished answer expires")
    sweep_interval_s: Seconds = Field(30, description="How often expired holds are released")
    cached_response_cost: str = Field(
        "0", description="Price of an answer that did not have to be generated, as a model's"
    )

    @field_validator(
        "gemma3_270m_cost",
        "gemma3_1b_cost",
        "gemma3_4b_cost",
        "gemma3_12b_cost",
        "cached_response_cost",
    )
    @classmethod
    def _readable_price(cls, value: str) -> str:
        parse_price(value)
        return value

    @field_validator("welcome_credits")
    @classmethod
    def _exact_credits(cls, value: Decimal) -> Decimal:
        try:
            return value if value == 0 else credits_decimal(parse_credits(value))
        except InvalidAmount as error:
            raise ValueError(str(error)) from None

    @property
    def prices(self) -> dict[str, Price]:
        return {
            "gemma3-270m": parse_price(self.gemma3_270m_cost),
            "gemma3-1b": parse_price(self.gemma3_1b_cost),
            "gemma3-4b": parse_price(self.gemma3_4b_cost),
            "gemma3-12b": parse_price(self.gemma3_12b_cost),
        }

    @property
    def welcome_micro(self) -> int:
        return parse_credits(self.welcome_credits) if self.welcome_credits else 0


def parse_price(text: str) -> Price:
    """ "10" is 10 credits a message; "0.4/1.2" is 0.4 credits per 1,000 prompt tokens and 1.2 per
    1,000 completion tokens. Raises ValueError."""
    try:
        prompt, slash, completion = text.partition("/")
        if not slash:
            return per_message(_parse_part(prompt))
        return per_token(
            prompt_micro_per_1000=_parse_part(prompt),
            completion_micro_per_1000=_parse_part(completion),
        )
    except InvalidAmount as error:
        raise ValueError(
            f"{text!r} is no price: write credits a message, such as 10, or credits per 1,000"
            f" prompt and completion tokens, such as 0.4/1.2 ({error})"
        ) from None


def _parse_part(text: str) -> int:
    text = text.strip()
    return 0 if text == "0" else parse_credits(text)
