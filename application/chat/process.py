"""A message, from command to paid answer.

    validate → quote → commit 1: hold + prompt → generate → commit 2: debit + answer
                                                         ↘ or:      release + failure

The generation and its settlement belong to this process, not to the request: when the client
goes away the generation stops, and what was generated is settled all the same.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from application.accounts import load_account
from application.chat.commands import ChatLimits, Quote, SendMessage
from application.chat.inference import (
    GenerationRequest,
    InferenceEngine,
    InferenceError,
    ModelUnavailable,
    PreparedPrompt,
)
from application.chat.opening import Openings
from application.chat.price_list import PriceList
from application.chat.prompt import Prompts, check_message
from application.chat.quotas import Admission, Quotas
from application.chat.recorded import find_recorded
from application.chat.run import Answer, ChatRun, Started
from application.chat.settlement import Settlement
from application.chat.stages import Stages
from application.ledger.ledger import Committed, Ledger, Transaction
from application.ledger.streams import ACCOUNT, CONVERSATION, IDEMPOTENCY
from application.ports import Clock, IdSource
from domain.accounts.affordable import affordable_tokens
from domain.accounts.commands import HoldCredits
from domain.accounts.decider import decide as decide_account
from domain.claims.idempotency import IdempotencyKey
from domain.conversations.commands import SubmitPrompt
from domain.conversations.decider import decide as decide_conversation
from domain.errors import CommandInProgress
from domain.identifiers import account_id
from domain.pricing.price import Price


class ChatProcess:
    def __init__(
        self,
        *,
        ledger: Ledger,
        engine: InferenceEngine,
        price_list: PriceList,
        clock: Clock,
        ids: IdSource,
        limits: ChatLimits,
        quotas: Quotas,
    ) -> None:
        self._ledger = ledger
        self._engine = engine
        self._price_list = price_list
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._quotas = quotas
        self._prompts = Prompts(ledger=ledger, engine=engine, ids=ids, limits=limits)
        self._openings = Openings()
        self._runs: set[ChatRun] = set()
        self._closing = asyncio.Event()

    async def send(self, command: SendMessage) -> ChatRun | Answer:
        """An answer under way, or the recorded answer of the same command sent before.

        Raises InvalidText, UnknownModel, ModelUnavailable, PromptTooLong, ConversationNotFound,
        InsufficientCredits, AccountIsFrozen, IdempotencyKeyReused, CommandInProgress, EngineBusy,
        QuotaExhausted, LedgerUnavailable.
        """
        stages = Stages()
        if self._closing.is_set():
            raise ModelUnavailable("the service is stopping; try again shortly")
        if command.key is not None:
            recorded = await self._recorded(command.key)
            if recorded is not None:
                return recorded
        text = check_message(command.text)
        model = command.model or self._price_list.default_model
        price = self._price_list.price(model)
        prompt, conversation_id = await self._prompts.prepare(command, text, model)
        stages.end("prepare")
        request = self._prompts.request(command, prompt)
        admission = self._admit(command, price, request)
        commit = _written(admission, self._open(command, text, price, prompt, conversation_id))
        begin = partial(self._begin, command, request, stages, admission)
        try:
            return await self._openings.run(commit, begin)
        except CommandInProgress:
            # The same key arrived twice at once, and the other one was first.
            assert command.key is not None
            recorded = await self._recorded(command.key)
            if recorded is None:
                raise
            return recorded

    async def quote(self, command: SendMessage) -> Quote:
        """Raises what `send` raises before it holds anything."""
        text = check_message(command.text)
        model = command.model or self._price_list.default_model
        price = self._price_list.price(model)
        prompt, _ = await self._prompts.prepare(command, text, model)
        account = await self._ledger.load(ACCOUNT, account_id(command.user_id))
        assert account is not None, "every user has an account from registration on"
        available_micro = account.available_micro(self._clock.now())
        prompt_tokens = len(prompt.token_ids)
        max_tokens = min(self._prompts.tokens_wanted(command), prompt.max_tokens)
        return Quote(
            model=model,
            price=price,
            prompt_tokens=prompt_tokens,
            turns_dropped=prompt.turns_dropped,
            max_tokens=max_tokens,
            cost_micro_max=price.cost_micro(
                prompt_tokens=prompt_tokens, completion_tokens=max_tokens
            ),
            available_micro=available_micro,
        )

    async def close(self) -> None:
        """Takes no more messages, stops every generation and waits until each is settled."""
        self._closing.set()
        for run in self._runs:
            run.cancel()
        await self._openings.all_begun()
        await asyncio.gather(*(run.ended() for run in list(self._runs)))

    @property
    def runs_open(self) -> int:
        return len(self._runs)

    async def _recorded(self, key: IdempotencyKey) -> Answer | None:
        return await find_recorded(
            self._ledger, key, wait=self._limits.hold_ttl, give_up=self._closing.is_set
        )

    def _admit(self, command: SendMessage, price: Price, request: GenerationRequest) -> Admission:
        """Before anything is held or queued. Raises QuotaExhausted, EngineBusy."""
        answered = self._engine.is_answered(request)
        if answered:
            price = self._price_list.cached_price
        admission = self._quotas.admit(
            command.user_id,
            free=price.is_free,
            tokens=0 if answered else len(request.prompt.token_ids),
        )
        if not answered:
            try:
                self._engine.check_room(request)
            except InferenceError:
                admission.nothing_written()
                raise
        return admission

    def _computed_on(self, model: str) -> str | None:
        return next(card.computed_on for card in self._engine.models() if card.name == model)

    def _begin(
        self,
        command: SendMessage,
        request: GenerationRequest,
        stages: Stages,
        admission: Admission,
        committed: Committed[Started],
    ) -> ChatRun:
        stages.end("hold")
        prompt = request.prompt
        card = self._engine.card(prompt.model)
        assert card is not None, "a model that tokenises stands in the catalogue"
        assert card.manifest_hash is not None, "a model that tokenises has a manifest"
        run = ChatRun(
            started=committed.value,
            engine=self._engine,
            request=replace(request, max_tokens=committed.value.max_tokens),
            settlement=Settlement(
                ledger=self._ledger,
                clock=self._clock,
                started=committed.value,
                prompt=prompt,
                stages=stages,
                computed_on=card.computed_on,
                manifest_hash=card.manifest_hash,
                cached_price=self._price_list.cached_price,
                key=command.key,
                retry=self._limits.settle_retry,
            ),
            position=committed.position,
            timeout_s=self._limits.generation_timeout.total_seconds(),
            stages=stages,
        )
        self._runs.add(run)
        run.begin(on_end=partial(self._ended, admission))
        if self._closing.is_set():
            run.cancel()
        return run

    def _ended(self, admission: Admission, run: ChatRun) -> None:
        self._runs.discard(run)
        answer = run.answered
        paid = answer is not None and answer.cost_micro > 0
        shared = answer is not None and answer.cached
        admission.ended(paid=paid, shared=shared, wasted_tokens=run.wasted_tokens)

    async def _open(
        self,
        command: SendMessage,
        text: str,
        price: Price,
        prompt: PreparedPrompt,
        conversation_id: UUID,
    ) -> Committed[Started]:
        """Commit 1."""
        new_id = self._ids.new_id
        prompt_id, response_id, hold_id = new_id(), new_id(), new_id()
        prompt_tokens = len(prompt.token_ids)
        wanted = min(self._prompts.tokens_wanted(command), prompt.max_tokens)

        def work(transaction: Transaction) -> Started:
            now = self._clock.now()
            self._claim(transaction, command.key, response_id)
            account = load_account(transaction, command.user_id)
            max_tokens = affordable_tokens(
                account, price, now, prompt_tokens=prompt_tokens, wanted=wanted
            )
            hold_micro = price.cost_micro(prompt_tokens=prompt_tokens, completion_tokens=max_tokens)
            hold = HoldCredits(
                hold_id=hold_id,
                amount_micro=hold_micro,
                expires_at=now + self._limits.hold_ttl,
                message_id=response_id,
                conversation_id=conversation_id,
            )
            transaction.add(ACCOUNT, *decide_account(hold, account, now))
            submit = SubmitPrompt(
                conversation_id=conversation_id,
                user_id=command.user_id,
                prompt_id=prompt_id,
                response_id=response_id,
                hold_id=hold_id,
                idempotency_claim_id=command.key.claim_id if command.key else None,
                text=text,
                model=prompt.model,
                max_tokens=max_tokens,
                temperature=command.temperature,
                top_p=command.top_p,
                seed=command.seed,
            )
            conversation = transaction.load(CONVERSATION, conversation_id)
            transaction.add(CONVERSATION, *decide_conversation(submit, conversation, now))
            return Started(
                user_id=command.user_id,
                message_id=response_id,
                prompt_id=prompt_id,
                conversation_id=conversation_id,
                hold_id=hold_id,
                held_micro=hold_micro,
                model=prompt.model,
                price=price,
                max_tokens=max_tokens,
                turns_dropped=prompt.turns_dropped,
            )

        return await self._ledger.transact(work)

    def _claim(
        self, transaction: Transaction, key: IdempotencyKey | None, response_id: UUID
    ) -> None:
        if key is None:
            return
        state = transaction.load(IDEMPOTENCY, key.claim_id)
        key.check(state)
        if state is not None and (state.running is not None or state.result is not None):
            raise CommandInProgress("the same message is being answered; try again shortly")
        started = key.start(state, subject_id=response_id, now=self._clock.now())
        transaction.add(IDEMPOTENCY, started)


async def _written(
    admission: Admission, commit: Coroutine[Any, Any, Committed[Started]]
) -> Committed[Started]:
    try:
        return await commit
    except Exception:
        admission.nothing_written()
        raise
