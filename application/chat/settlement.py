"""Commit 2 of a message: the debit with its answer, or the release with its failure."""

from dataclasses import replace
from datetime import timedelta

import structlog

from application.accounts import load_account
from application.chat.answer import Answer, Generated, GenerationFailed, Started
from application.chat.give_back import give_back
from application.chat.inference import FinishReason, PreparedPrompt
from application.chat.stages import Stages
from application.ledger.idempotency import encode_result
from application.ledger.ledger import Committed, Ledger, LedgerUnavailable, Transaction
from application.ledger.streams import ACCOUNT, CONVERSATION, IDEMPOTENCY
from application.ports import Clock
from domain.accounts.commands import CaptureHold, ReleaseHold
from domain.accounts.decider import decide_folded
from domain.claims.idempotency import IdempotencyKey
from domain.conversations.commands import RecordResponse
from domain.conversations.decider import decide as decide_conversation
from domain.errors import HoldNotOpen
from domain.identifiers import account_id
from domain.pricing.price import Price, per_message

log = structlog.get_logger()

NO_CHARGE = per_message(0)


class Settlement:
    """One message's, for one call of `deliver` or `give_back`.

    stages: begun when the message came. manifest_hash, computed_on: of the model when the prompt
    was prepared; this hash is cited for an answer that was cut off before the engine could cite
    one.
    cached_price: of an answer that came from the cache. retry: how long to wait for a database that
    is away, so that finished work is not thrown away; after that the hold is left to its expiry.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        clock: Clock,
        started: Started,
        prompt: PreparedPrompt,
        stages: Stages,
        manifest_hash: str,
        computed_on: str | None,
        cached_price: Price,
        key: IdempotencyKey | None,
        retry: timedelta,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._started = started
        self._prompt = prompt
        self._stages = stages
        self._manifest_hash = manifest_hash
        self._computed_on = computed_on
        self._cached_price = cached_price
        self._key = key
        self._retry_s = retry.total_seconds()

    async def deliver(self, generated: Generated) -> Answer:
        """All or nothing. Raises GenerationFailed("expired") when the sweeper was first, and
        LedgerUnavailable."""

        def work(transaction: Transaction) -> Answer:
            return self._deliver(transaction, generated)

        try:
            committed = await self._ledger.transact(work, patience_s=self._retry_s)
        except HoldNotOpen:
            raise GenerationFailed("expired") from None
        return _with_position(committed)

    async def give_back(self, reason: str) -> None:
        """Nothing is charged. A hold that is not open any more stays as it is."""
        started = self._started
        release = ReleaseHold(hold_id=started.hold_id, reason=reason)

        def work(transaction: Transaction) -> None:
            now = self._clock.now()
            give_back(transaction, release, account_id=account_id(started.user_id), now=now)

        try:
            await self._ledger.transact(work, patience_s=self._retry_s)
        except HoldNotOpen:
            return
        except LedgerUnavailable:
            log.error("release_left_to_expiry", hold_id=str(started.hold_id))

    def _deliver(self, transaction: Transaction, generated: Generated) -> Answer:
        now = self._clock.now()
        started = self._started
        prompt_tokens = len(self._prompt.token_ids)
        price = self._price(generated)
        cost_micro = price.cost_micro(
            prompt_tokens=prompt_tokens, completion_tokens=generated.completion_tokens
        )
        capture = CaptureHold(
            hold_id=started.hold_id,
            # A stop token can come after the last paid-for token; the hold is the promise.
            amount_micro=min(cost_micro, started.held_micro),
            model=started.model,
            price=price,
            prompt_tokens=prompt_tokens,
            completion_tokens=generated.completion_tokens,
        )
        account = load_account(transaction, started.user_id)
        debits, account = decide_folded(capture, account, now)
        transaction.add_folded(ACCOUNT, debits, account)
        finish_reason = generated.finish_reason.value
        latency_ms = self._stages.elapsed_ms
        record = RecordResponse(
            user_id=started.user_id,
            response_id=started.message_id,
            text=generated.text,
            model=started.model,
            manifest_hash=generated.manifest_hash or self._manifest_hash,
            computed_on=self._computed_on,
            finish_reason=finish_reason,
            prompt_tokens=prompt_tokens,
            completion_tokens=generated.completion_tokens,
            turns_dropped=self._prompt.turns_dropped,
            seed=generated.seed,
            price=price,
            cost_micro=capture.amount_micro,
            cached=generated.cached,
            latency_ms=latency_ms,
        )
        conversation = transaction.load(CONVERSATION, started.conversation_id)
        transaction.add(CONVERSATION, *decide_conversation(record, conversation, now))
        balance = account.balance
        answer = Answer(
            message_id=started.message_id,
            conversation_id=started.conversation_id,
            model=started.model,
            response=generated.text,
            finish_reason=finish_reason,
            prompt_tokens=prompt_tokens,
            completion_tokens=generated.completion_tokens,
            turns_dropped=self._prompt.turns_dropped,
            cost_micro=capture.amount_micro,
            available_micro=balance.available_micro,
            held_micro=balance.held_micro,
            cached=generated.cached,
            latency_ms=latency_ms,
        )
        if self._key is not None:
            claim = transaction.load(IDEMPOTENCY, self._key.claim_id)
            done = self._key.complete(claim, result=encode_result(answer), now=now)
            transaction.add(IDEMPOTENCY, done)
        return answer

    def _price(self, generated: Generated) -> Price:
        """The price of this answer, so that its event explains its cost."""
        if not generated.text:
            return NO_CHARGE
        if generated.cached:
            return self._cached_price
        if generated.finish_reason is FinishReason.ERROR:
            return self._started.price.by_length(self._started.max_tokens)
        return self._started.price


def _with_position(committed: Committed[Answer]) -> Answer:
    return replace(committed.value, position=committed.position)
