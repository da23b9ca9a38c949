"""Commit 1 of a message: its key is taken, its credits are held and its prompt is recorded."""

from datetime import datetime, timedelta
from uuid import UUID

from application.accounts import load_account
from application.chat.answer import Started
from application.chat.prompt import PreparedMessage
from application.ledger.ledger import Committed, Ledger, Transaction
from application.ledger.streams import ACCOUNT, CONVERSATION, IDEMPOTENCY
from application.ports import Clock, IdSource
from domain.accounts.affordable import affordable_tokens
from domain.accounts.commands import HoldCredits
from domain.accounts.decider import decide_folded
from domain.claims.idempotency import Free, IdempotencyKey
from domain.conversations.commands import SubmitPrompt
from domain.conversations.decider import decide as decide_conversation
from domain.errors import CommandInProgress


class Holds:
    """ttl: how long a hold stays open when nobody settles it."""

    def __init__(self, *, ledger: Ledger, clock: Clock, ids: IdSource, ttl: timedelta) -> None:
        self._ledger = ledger
        self._clock = clock
        self._ids = ids
        self._ttl = ttl

    async def commit(self, message: PreparedMessage) -> Committed[Started]:
        """All or nothing. Raises InsufficientCredits, AccountIsFrozen, ConversationNotFound,
        IdempotencyKeyReused, CommandInProgress, LedgerUnavailable."""
        new_id = self._ids.new_id
        prompt_id, response_id, hold_id = new_id(), new_id(), new_id()

        def work(transaction: Transaction) -> Started:
            now = self._clock.now()
            if message.key is not None:
                _take_key(transaction, message.key, response_id, now)
            max_tokens, held_micro = self._hold(transaction, message, hold_id, response_id, now)
            started = Started(
                user_id=message.user_id,
                message_id=response_id,
                prompt_id=prompt_id,
                conversation_id=message.conversation_id,
                hold_id=hold_id,
                held_micro=held_micro,
                model=message.prompt.model,
                price=message.price,
                max_tokens=max_tokens,
                turns_dropped=message.prompt.turns_dropped,
            )
            _record_prompt(transaction, message, started, now)
            return started

        return await self._ledger.transact(work)

    def _hold(
        self,
        transaction: Transaction,
        message: PreparedMessage,
        hold_id: UUID,
        response_id: UUID,
        now: datetime,
    ) -> tuple[int, int]:
        """How many tokens the answer may have, and the micro-credits that are held for them."""
        account = load_account(transaction, message.user_id)
        prompt_tokens = len(message.prompt.token_ids)
        max_tokens = affordable_tokens(
            account,
            message.price,
            now,
            prompt_tokens=prompt_tokens,
            wanted=message.request.max_tokens,
        )
        hold = HoldCredits(
            hold_id=hold_id,
            amount_micro=message.price.cost_micro(
                prompt_tokens=prompt_tokens, completion_tokens=max_tokens
            ),
            expires_at=now + self._ttl,
            message_id=response_id,
            conversation_id=message.conversation_id,
        )
        events, account = decide_folded(hold, account, now)
        transaction.add_folded(ACCOUNT, events, account)
        return max_tokens, hold.amount_micro


def _take_key(
    transaction: Transaction, key: IdempotencyKey, response_id: UUID, now: datetime
) -> None:
    claim = transaction.load(IDEMPOTENCY, key.claim_id)
    if not isinstance(key.status(claim), Free):
        raise CommandInProgress("the same message is being answered; try again shortly")
    transaction.add(IDEMPOTENCY, key.start(claim, subject_id=response_id, now=now))


def _record_prompt(
    transaction: Transaction, message: PreparedMessage, started: Started, now: datetime
) -> None:
    sampling = message.request.sampling
    submit = SubmitPrompt(
        conversation_id=started.conversation_id,
        user_id=started.user_id,
        prompt_id=started.prompt_id,
        response_id=started.message_id,
        hold_id=started.hold_id,
        idempotency_claim_id=None if message.key is None else message.key.claim_id,
        text=message.text,
        model=started.model,
        max_tokens=started.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=sampling.seed,
    )
    conversation = transaction.load(CONVERSATION, started.conversation_id)
    transaction.add(CONVERSATION, *decide_conversation(submit, conversation, now))
