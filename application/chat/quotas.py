"""How much unpaid work each user may cause.

Levels are kept in the memory of one process: each process of a service counts for itself, and a
restart begins at zero. They bound work and events, never credits.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
# Users with a level above zero; past this the one who was quiet longest is forgotten.
USERS_MAX = 100_000
# Rounding error that is allowed in a sum of times.
_ROUNDING_S = 1e-6


class QuotaExhausted(Exception):
    """code: stable, for programs. Nothing was done; after `retry_after_s` there is room again."""

    def __init__(self, code: str, text: str, *, retry_after_s: int) -> None:
        self.code = code
        self.retry_after_s = retry_after_s
        super().__init__(text)


@dataclass(frozen=True, kw_only=True)
class Limit:
    """`most` at once, and after that as many again in each `window_s` seconds."""

    most: int
    window_s: float


class Quota:
    """A leaky bucket for each user and limit: what is taken fills it, and it drains evenly.

    One message may overfill it, because what a message costs is only known afterwards.
    code, what: the refusal's code, and what its text says. clock: monotonic, in seconds.
    """

    def __init__(
        self,
        limits: Sequence[Limit],
        *,
        code: str,
        what: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = tuple(limits)
        self._code = code
        self._what = what
        self._clock = clock
        # When the level of each limit will have drained. The user who changed last comes last.
        self._drained_at: OrderedDict[UUID, tuple[float, ...]] = OrderedDict()

    @property
    def users(self) -> int:
        """How many users' levels are remembered."""
        return len(self._drained_at)

    def take(self, user_id: UUID, amount: int = 1) -> None:
        """Raises QuotaExhausted, and then nothing is taken."""
        now_s = self._clock()
        drained = self._drained_at.get(user_id)
        if drained is not None:
            # Until the level is low enough for one more.
            wait_s = max(
                until - now_s - limit.window_s + limit.window_s / limit.most
                for until, limit in zip(drained, self._limits, strict=True)
            )
            if wait_s > _ROUNDING_S:
                seconds = max(1, math.ceil(wait_s))
                text = f"{self._what}; try again in {seconds} s"
                raise QuotaExhausted(self._code, text, retry_after_s=seconds)
        self.add(user_id, amount)

    def add(self, user_id: UUID, amount: int = 1) -> None:
        """Takes without a check, for what has happened already; a negative amount gives back."""
        if not amount:
            return
        now_s = self._clock()
        before = self._drained_at.pop(user_id, None) or (now_s,) * len(self._limits)
        after = tuple(
            max(until, now_s) + amount * limit.window_s / limit.most
            for until, limit in zip(before, self._limits, strict=True)
        )
        if max(after) > now_s:
            self._drained_at[user_id] = after
        self._forget(now_s)

    def _forget(self, now_s: float) -> None:
        while self._drained_at:
            quietest = next(iter(self._drained_at))
            if max(self._drained_at[quietest]) > now_s and self.users <= USERS_MAX:
                return
            del self._drained_at[quietest]


@dataclass(frozen=True, kw_only=True)
class QuotaLimits:
    """free_writes_…: a user's commands that cost nothing; as many messages may end unpaid.
    unpaid_tokens_per_hour: tokens that a model reads and writes for answers that end unpaid."""

    free_writes_per_hour: int
    free_writes_per_day: int
    unpaid_tokens_per_hour: int


class Quotas:
    """free_writes: for commands that are known to be free before they are carried out.

    Whether a message will be paid for is only known when it has ended. By then credits were held
    for it and a model has worked on it, so messages that end unpaid have quotas of their own, and a
    message under way counts as unpaid.
    """

    def __init__(self, limits: QuotaLimits, *, clock: Callable[[], float] = time.monotonic) -> None:
        writes = (
            Limit(most=limits.free_writes_per_hour, window_s=HOUR_S),
            Limit(most=limits.free_writes_per_day, window_s=DAY_S),
        )
        tokens = (Limit(most=limits.unpaid_tokens_per_hour, window_s=HOUR_S),)
        self.free_writes = Quota(
            writes,
            code="free_writes_exhausted",
            what="you have sent too many commands that cost nothing, but paid messages still work",
            clock=clock,
        )
        self._unpaid_messages = Quota(
            writes,
            code="unpaid_messages_exhausted",
            what="too many of your messages ended without an answer that was paid for",
            clock=clock,
        )
        self._unpaid_tokens = Quota(
            tokens,
            code="unpaid_work_exhausted",
            what="models have worked too much on answers of yours that were stopped or are not"
            " finished yet",
            clock=clock,
        )

    def admit(self, user_id: UUID, *, free: bool, tokens: int) -> "Admission":
        """Takes what the message would use up if it ended unpaid. free: it is known to cost
        nothing. tokens: how many of its prompt the model has to read.

        Raises QuotaExhausted.
        """
        counted = self.free_writes if free else self._unpaid_messages
        counted.take(user_id)
        if tokens:
            try:
                self._unpaid_tokens.take(user_id, tokens)
            except QuotaExhausted:
                counted.add(user_id, -1)
                raise
        return Admission(user_id, counted, self.free_writes, self._unpaid_tokens, tokens)


class Admission:
    """What one message has taken from the quotas, until it has ended and its use is known."""

    def __init__(
        self, user_id: UUID, counted: Quota, free_writes: Quota, unpaid_tokens: Quota, tokens: int
    ) -> None:
        self._user_id = user_id
        self._counted = counted
        self._free_writes = free_writes
        self._unpaid_tokens = unpaid_tokens
        self._tokens = tokens

    def nothing_written(self) -> None:
        """Gives all of it back: the message was refused before anything was held for it."""
        self._counted.add(self._user_id, -1)
        self._unpaid_tokens.add(self._user_id, -self._tokens)

    def ended(self, *, paid: bool, shared: bool, wasted_tokens: int) -> None:
        """paid: it cost credits. shared: its answer was generated for another request, which was
        not known when the message was admitted."""
        if paid or shared:
            self._counted.add(self._user_id, -1)
        if shared and not paid:
            self._free_writes.add(self._user_id)
        self._unpaid_tokens.add(self._user_id, wasted_tokens - self._tokens)
