"""One answer under way: generates, hands pieces on, and settles however it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import structlog

from application.chat.answer import Answer, Generated, GenerationFailed, Started
from application.chat.inference import (
    Completion,
    Delta,
    FinishReason,
    GenerationRequest,
    InferenceEngine,
    WorkMeter,
)
from application.chat.inference_errors import GenerationTimedOut, InferenceError
from application.chat.settlement import Settlement
from application.chat.stages import Stages
from domain.text import is_visible

log = structlog.get_logger()


class ChatRun:
    """Consumed once, through `deltas` and then `answer`. A consumer that goes away calls
    `cancel`.

    Text that `deltas` has begun to hand on is paid for, whatever ends it; where the generation
    fails before that, none of its text is handed on any more.

    answered: the answer, once the run has ended with one.
    stages: those that have ended, of prepare, hold, generate (with the engine's own prefill and
    decode) and settle.
    """

    def __init__(
        self,
        *,
        started: Started,
        engine: InferenceEngine,
        request: GenerationRequest,
        settlement: Settlement,
        position: int | None,
        timeout_s: float,
        stages: Stages,
    ) -> None:
        self.started = started
        self.answered: Answer | None = None
        self.position = position
        self.stages = stages
        self._engine = engine
        self._request = request
        self._settlement = settlement
        self._timeout_s = timeout_s
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue()
        self._text: list[str] = []
        self._handed_on = False
        self._meter = WorkMeter()
        self._completion_tokens = 0
        self._generation: asyncio.Task[Completion] | None = None
        self._task: asyncio.Task[Answer] | None = None

    def begin(self, on_end: "Callable[[ChatRun], None]") -> None:
        self._generation = asyncio.create_task(self._generate())
        # Not by the task itself: one that is cancelled before its first step never runs.
        self._generation.add_done_callback(lambda _: self._pieces.put_nowait(None))
        self._task = asyncio.create_task(self._settle())
        self._task.add_done_callback(lambda task: self._end(task, on_end))

    def _end(self, task: asyncio.Task[Answer], on_end: "Callable[[ChatRun], None]") -> None:
        # Asked for here, or asyncio would report it as lost when the client has gone.
        if not task.cancelled() and task.exception() is None:
            self.answered = task.result()
        on_end(self)

    @property
    def wasted_tokens(self) -> int:
        """What the model read and wrote for a client who left before there was any text, or for
        an answer without text; 0 where the service failed. Known once the run has ended."""
        assert self._generation is not None
        answer = self.answered
        given_up = self._generation.cancelled() if answer is None else not answer.response
        return self._meter.prompt_tokens_read + self._completion_tokens if given_up else 0

    def cancel(self) -> None:
        """Stop generating; what was generated is settled. Without effect once it is done."""
        assert self._generation is not None
        self._generation.cancel()

    async def deltas(self) -> AsyncIterator[str]:
        """Pieces of text, as they come, until generation ends in whatever way."""
        while (piece := await self._pieces.get()) is not None:
            self._handed_on = True
            yield piece

    async def answer(self) -> Answer:
        """The settled answer. Raises GenerationFailed, InferenceError, LedgerUnavailable."""
        assert self._task is not None
        return await asyncio.shield(self._task)

    async def ended(self) -> None:
        """Returns when the run is settled, whether or not that succeeded."""
        assert self._task is not None
        await asyncio.wait([self._task])

    async def _generate(self) -> Completion:
        items = self._engine.stream(self._request, self._meter)
        async with (
            asyncio.timeout(self._timeout_s),
            aclosing(items) as stream,
        ):
            async for item in stream:
                match item:
                    case Delta():
                        self._completion_tokens = item.completion_tokens
                        if item.text:
                            self._text.append(item.text)
                            self._pieces.put_nowait(item.text)
                    case Completion():
                        return item
        raise InferenceError("the model ended without a completion")

    async def _settle(self) -> Answer:
        assert self._generation is not None
        await asyncio.wait([self._generation])
        self.stages.end("generate")
        if self._generation.cancelled():
            return await self._deliver(self._partial(FinishReason.CANCELLED))
        error = self._generation.exception()
        if error is not None:
            return await self._settle_failed(error)
        completion = self._generation.result()
        self.stages.note(prefill=completion.prefill_ms, decode=completion.decode_ms)
        return await self._deliver(
            Generated(
                text=completion.text if is_visible(completion.text) else "",
                finish_reason=completion.finish_reason,
                completion_tokens=completion.completion_tokens,
                seed=completion.seed,
                manifest_hash=completion.manifest_hash,
                cached=completion.cached,
            )
        )

    async def _settle_failed(self, error: BaseException) -> Answer:
        late = isinstance(error, TimeoutError | GenerationTimedOut)
        reason = "timeout" if late else "failed"
        log.warning(
            "generation_failed",
            message_id=str(self.started.message_id),
            model=self.started.model,
            reason=reason,
            error=repr(error),
        )
        partial = self._partial(FinishReason.TIMEOUT if late else FinishReason.ERROR)
        if self._handed_on and partial.text:
            return await self._deliver(partial)
        self._withhold()
        await self._settlement.give_back(reason)
        if isinstance(error, InferenceError):
            raise error
        raise GenerationFailed(reason) from error

    def _partial(self, finish_reason: FinishReason) -> Generated:
        """What there is of an answer that ended early."""
        text = "".join(self._text).strip()
        return Generated(
            text=text if is_visible(text) else "",
            finish_reason=finish_reason,
            completion_tokens=self._completion_tokens,
            seed=self._request.sampling.seed,
            manifest_hash=None,
        )

    def _withhold(self) -> None:
        """Pieces that were not handed on are dropped, because nobody will pay for them."""
        while not self._pieces.empty():
            self._pieces.get_nowait()
        self._pieces.put_nowait(None)

    async def _deliver(self, generated: Generated) -> Answer:
        """Settles an answer, also one without text; but that one fails if its client has left."""
        if not generated.text and generated.finish_reason is FinishReason.CANCELLED:
            await self._settlement.give_back("cancelled")
            raise GenerationFailed("cancelled")
        answer = await self._settlement.deliver(generated)
        self.stages.end("settle")
        return answer
