"""How long an answer may be that an account can pay for."""

from datetime import datetime

from domain.accounts.state import AccountState
from domain.credits import format_credits
from domain.errors import InsufficientCredits
from domain.pricing.price import Price


def affordable_tokens(
    account: AccountState, price: Price, now: datetime, *, prompt_tokens: int, wanted: int
) -> int:
    """The completion tokens that an answer may have: `wanted`, or fewer where a price per token
    meets a small balance, so that what is available pays for all of them.

    Raises InsufficientCredits when it does not pay for a single one. A frozen account is refused
    by the hold itself.
    """
    available_micro = account.available_micro(now)
    affordable = price.completion_tokens_affordable(
        available_micro=available_micro, prompt_tokens=prompt_tokens
    )
    if affordable is None:
        return wanted
    if affordable < 1:
        required_micro = price.cost_micro(prompt_tokens=prompt_tokens, completion_tokens=1)
        raise InsufficientCredits(
            f"this message costs {format_credits(required_micro)} credits or more, and"
            f" {format_credits(available_micro)} are available; add credits first",
            available_micro=available_micro,
            required_micro=required_micro,
        )
    return min(wanted, affordable)
