"""A message, from command to paid answer.

    prepare → admit → commit 1: hold + prompt → generate → commit 2: debit + answer
                                                        ↘ or:      release + failure

The generation and its settlement belong to this process, not to the request: when the client
goes away the generation stops, and what was generated is settled all the same.
"""

import asyncio
from dataclasses import replace
from functools import partial

from application.chat.answer import Answer, Started
from application.chat.commands import ChatLimits, Quote, SendMessage
from application.chat.hold import Holds
from application.chat.inference import InferenceEngine, ModelCard
from application.chat.inference_errors import InferenceError, ModelUnavailable
from application.chat.price_list import PriceList
from application.chat.prompt import PreparedMessage, Prompts
from application.chat.quotas import Admission, Quotas
from application.chat.recorded import find_recorded
from application.chat.run import ChatRun
from application.chat.settlement import Settlement
from application.chat.stages import Stages
from application.ledger.ledger import Committed, Ledger
from application.ledger.streams import ACCOUNT
from application.ports import Clock, IdSource
from domain.claims.idempotency import IdempotencyKey
from domain.errors import CommandInProgress
from domain.identifiers import account_id


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
        self._limits = limits
        self._quotas = quotas
        self._prompts = Prompts(
            ledger=ledger, engine=engine, price_list=price_list, ids=ids, limits=limits
        )
        self._holds = Holds(ledger=ledger, clock=clock, ids=ids, ttl=limits.hold_ttl)
        self._opening: set[asyncio.Task[ChatRun]] = set()
        self._runs: set[ChatRun] = set()
        self._closing = asyncio.Event()

    async def send(self, command: SendMessage) -> ChatRun | Answer:
        """An answer under way, or the recorded answer of the same command sent before.

        Raises InvalidText, UnknownModel, ModelUnavailable, PromptTooLong, ConversationNotFound,
        InsufficientCredits, AccountIsFrozen, IdempotencyKeyReused, CommandInProgress, EngineBusy,
        QuotaExhausted, LedgerUnavailable.
        """
        stages = Stages()
        self._check_not_closing()
        if command.key is not None:
            recorded = await self._recorded(command.key)
            if recorded is not None:
                return recorded
        message = await self._prompts.prepare(command)
        stages.end("prepare")
        self._check_not_closing()
        # Asked for now, because nothing may fail between the hold and the run that settles it.
        card = self._card(message.prompt.model)
        admission = self._admit(message)
        # A task of its own: a request can be cancelled at any moment, its commit is on its way all
        # the same, and only a run gives back what was held.
        caller_gone = asyncio.Event()
        opening = asyncio.create_task(self._open(message, card, admission, stages, caller_gone))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            caller_gone.set()
            opening.add_done_callback(_cancel_run)
            raise
        except CommandInProgress:
            # The same key arrived twice at once, and the other one was first.
            assert command.key is not None
            recorded = await self._recorded(command.key)
            if recorded is None:
                raise
            return recorded

    async def quote(self, command: SendMessage) -> Quote:
        """Raises what `send` raises before it holds anything."""
        message = await self._prompts.prepare(command)
        account = await self._ledger.load(ACCOUNT, account_id(command.user_id))
        assert account is not None, "every user has an account from registration on"
        prompt_tokens = len(message.prompt.token_ids)
        max_tokens = message.request.max_tokens
        return Quote(
            model=message.prompt.model,
            price=message.price,
            prompt_tokens=prompt_tokens,
            turns_dropped=message.prompt.turns_dropped,
            max_tokens=max_tokens,
            cost_micro_max=message.price.cost_micro(
                prompt_tokens=prompt_tokens, completion_tokens=max_tokens
            ),
            available_micro=account.available_micro(self._clock.now()),
        )

    async def close(self) -> None:
        """Takes no more messages, stops every generation and waits until each is settled."""
        self._closing.set()
        for run in self._runs:
            run.cancel()
        if self._opening:
            await asyncio.wait(self._opening)
        await asyncio.gather(*(run.ended() for run in list(self._runs)))

    @property
    def runs_open(self) -> int:
        return len(self._runs)

    def _check_not_closing(self) -> None:
        """Raises ModelUnavailable."""
        if self._closing.is_set():
            raise ModelUnavailable("the service is stopping; try again shortly")

    async def _recorded(self, key: IdempotencyKey) -> Answer | None:
        return await find_recorded(
            self._ledger, key, wait=self._limits.hold_ttl, give_up=self._closing.is_set
        )

    def _admit(self, message: PreparedMessage) -> Admission:
        """Before anything is held or queued. Raises QuotaExhausted, EngineBusy."""
        answered = self._engine.is_answered(message.request)
        price = self._price_list.cached_price if answered else message.price
        admission = self._quotas.admit(
            message.user_id,
            free=price.is_free,
            tokens=0 if answered else len(message.prompt.token_ids),
        )
        if not answered:
            try:
                self._engine.check_room(message.request)
            except InferenceError:
                admission.nothing_written()
                raise
        return admission

    def _card(self, model: str) -> ModelCard:
        """Of a model that has just tokenised. Raises ModelUnavailable when its files have been
        removed since."""
        card = self._engine.card(model)
        assert card is not None, "a model that tokenises stands in the catalogue"
        if card.manifest_hash is None:
            raise ModelUnavailable(f"{card.title} cannot answer. {card.detail}")
        return card

    async def _open(
        self,
        message: PreparedMessage,
        card: ModelCard,
        admission: Admission,
        stages: Stages,
        caller_gone: asyncio.Event,
    ) -> ChatRun:
        """Commit 1, and the run that settles or gives back what it holds."""
        try:
            committed = await self._holds.commit(message)
        except Exception:
            admission.nothing_written()
            raise
        stages.end("hold")
        run = self._run(message, card, committed, stages)
        self._runs.add(run)
        run.begin(on_end=partial(self._ended, admission))
        if caller_gone.is_set() or self._closing.is_set():
            # Before its first step, so that the model does no work for it.
            run.cancel()
        return run

    def _run(
        self,
        message: PreparedMessage,
        card: ModelCard,
        committed: Committed[Started],
        stages: Stages,
    ) -> ChatRun:
        started = committed.value
        assert card.manifest_hash is not None, "`_card` refuses a model without one"
        return ChatRun(
            started=started,
            engine=self._engine,
            request=replace(message.request, max_tokens=started.max_tokens),
            settlement=Settlement(
                ledger=self._ledger,
                clock=self._clock,
                started=started,
                prompt=message.prompt,
                stages=stages,
                computed_on=card.computed_on,
                manifest_hash=card.manifest_hash,
                cached_price=self._price_list.cached_price,
                key=message.key,
                retry=self._limits.settle_retry,
            ),
            position=committed.position,
            timeout_s=self._limits.generation_timeout.total_seconds(),
            stages=stages,
        )

    def _ended(self, admission: Admission, run: ChatRun) -> None:
        self._runs.discard(run)
        answer = run.answered
        paid = answer is not None and answer.cost_micro > 0
        shared = answer is not None and answer.cached
        admission.ended(paid=paid, shared=shared, wasted_tokens=run.wasted_tokens)


def _cancel_run(opening: asyncio.Task[ChatRun]) -> None:
    """For a caller who has gone."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().cancel()
