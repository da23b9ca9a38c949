"""What a message costs: a fixed price, or a price per token. One rounding: up to the
micro-credit, once per message."""

from enum import StrEnum

from domain.records import record


class PriceKind(StrEnum):
    PER_MESSAGE = "per_message"
    PER_TOKEN = "per_token"  # noqa: S105 - no password


@record
class Price:
    """The price an event used, whole, so that the event explains itself.

    version: names the price list entry, for receipts.
    message_micro: for a per-message price; the other two are for a per-token price.
    """

    kind: PriceKind
    version: str
    message_micro: int = 0
    prompt_micro_per_1000: int = 0
    completion_micro_per_1000: int = 0

    def __post_init__(self) -> None:
        parts = (self.message_micro, self.prompt_micro_per_1000, self.completion_micro_per_1000)
        assert min(parts) >= 0, "a price is never negative"

    @property
    def is_free(self) -> bool:
        return not (
            self.message_micro or self.prompt_micro_per_1000 or self.completion_micro_per_1000
        )

    def cost_micro(self, *, prompt_tokens: int, completion_tokens: int) -> int:
        """What a delivered answer costs."""
        assert min(prompt_tokens, completion_tokens) >= 0
        if self.kind is PriceKind.PER_MESSAGE:
            return self.message_micro
        thousandths = (
            prompt_tokens * self.prompt_micro_per_1000
            + completion_tokens * self.completion_micro_per_1000
        )
        return -(-thousandths // 1000)

    def by_length(self, tokens_max: int) -> "Price":
        """For an answer that broke off: a price per message, spread over the `tokens_max` tokens
        that were promised for it; a price per token as it is."""
        assert tokens_max >= 1
        if self.kind is PriceKind.PER_TOKEN:
            return self
        spread_micro = -(-self.message_micro * 1000 // tokens_max)
        return per_token(prompt_micro_per_1000=0, completion_micro_per_1000=spread_micro)

    def completion_tokens_affordable(
        self, *, available_micro: int, prompt_tokens: int
    ) -> int | None:
        """How many completion tokens `available_micro` pays for after the prompt; None is no
        limit, a number below one means that not even one token is affordable."""
        if self.kind is PriceKind.PER_MESSAGE:
            return None if available_micro >= self.message_micro else 0
        left = available_micro * 1000 - prompt_tokens * self.prompt_micro_per_1000
        if left < 0:
            return 0
        if self.completion_micro_per_1000 == 0:
            return None
        return left // self.completion_micro_per_1000


def per_message(message_micro: int) -> Price:
    return Price(
        kind=PriceKind.PER_MESSAGE,
        version=f"message:{message_micro}",
        message_micro=message_micro,
    )


def per_token(*, prompt_micro_per_1000: int, completion_micro_per_1000: int) -> Price:
    return Price(
        kind=PriceKind.PER_TOKEN,
        version=f"token:{prompt_micro_per_1000}:{completion_micro_per_1000}",
        prompt_micro_per_1000=prompt_micro_per_1000,
        completion_micro_per_1000=completion_micro_per_1000,
    )
