"""Generates a deterministic answer once for all who ask for it: requests share a generation that is
under way, and its answer is cached for a while.

This is an engine in front of the engine. `Completion.cached` is True for all requests but the one
that caused the generation.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Hashable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial

from cachetools import TTLCache

from application.chat.inference import (
    Completion,
    Delta,
    GenerationRequest,
    InferenceEngine,
    MemoryReleased,
    ModelCard,
    PreparedPrompt,
    Turn,
    WorkMeter,
)
from application.chat.inference_errors import InferenceError
from infrastructure.process.tasks import cancel_until_done

_ENTRY_OVERHEAD_BYTES = 1_000
_TOKEN_ID_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class SharingLimits:
    """bytes_max: of cached answers with their prompts; the least recently used are dropped first.
    ttl_s: how long an answer is cached. across_users: also share between users. A user can then
    tell from the price and the time that somebody else has asked the same."""

    bytes_max: int
    ttl_s: float
    across_users: bool


class SharedAnswers:
    """An `InferenceEngine`. Greedy and seeded requests are deterministic and shared; all others go
    straight to the engine.

    clock: monotonic seconds.
    """

    def __init__(
        self,
        engine: InferenceEngine,
        limits: SharingLimits,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._limits = limits
        self._under_way: dict[Hashable, _Generation] = {}
        self._answers: TTLCache[Hashable, Completion] = TTLCache(
            limits.bytes_max, limits.ttl_s, timer=clock, getsizeof=_size
        )

    def models(self) -> Sequence[ModelCard]:
        return self._engine.models()

    def card(self, model: str) -> ModelCard | None:
        return self._engine.card(model)

    async def prepare_prompt(
        self, model: str, turns: Sequence[Turn], *, completion_tokens_wanted: int
    ) -> PreparedPrompt:
        return await self._engine.prepare_prompt(
            model, turns, completion_tokens_wanted=completion_tokens_wanted
        )

    def is_answered(self, request: GenerationRequest) -> bool:
        if not _is_repeatable(request):
            return self._engine.is_answered(request)
        key = self._key(request)
        return key in self._answers or key in self._under_way or self._engine.is_answered(request)

    def check_room(self, request: GenerationRequest) -> None:
        self._engine.check_room(request)

    def stream(
        self, request: GenerationRequest, meter: WorkMeter | None = None
    ) -> AsyncGenerator[Delta | Completion, None]:
        if not _is_repeatable(request):
            return self._engine.stream(request, meter)
        return self._stream_shared(request, meter or WorkMeter())

    async def release_memory(self) -> MemoryReleased:
        self._answers.clear()
        return await self._engine.release_memory()

    async def close(self) -> None:
        await cancel_until_done([generation.task for generation in self._under_way.values()])
        await self._engine.close()

    async def _stream_shared(
        self, request: GenerationRequest, meter: WorkMeter
    ) -> AsyncGenerator[Delta | Completion, None]:
        key = self._key(request)
        kept: Completion | None = self._answers.get(key)
        if kept is not None:
            yield Delta(text=kept.text, completion_tokens=kept.completion_tokens)
            yield replace(kept, cached=True, prefill_ms=0.0, decode_ms=0.0)
            return
        generation = self._under_way.get(key)
        if generation is None:
            generation = _Generation(partial(self._engine.stream, request))
            self._under_way[key] = generation
        follower = generation.join()
        try:
            async for item in generation.items(follower):
                if isinstance(item, Completion):
                    self._keep(key, generation.completion)
                    self._ended(key, generation)
                yield item
        finally:
            nobody_is_left = not generation.leave(follower)
            if nobody_is_left:
                self._ended(key, generation)
                await cancel_until_done([generation.task])
            if generation.is_charged_to(follower, last=nobody_is_left):
                meter.prompt_tokens_read += generation.meter.prompt_tokens_read

    def _keep(self, key: Hashable, completion: Completion | None) -> None:
        assert completion is not None
        if key not in self._answers and _size(completion) <= self._limits.bytes_max:
            self._answers[key] = completion

    def _ended(self, key: Hashable, generation: "_Generation") -> None:
        if self._under_way.get(key) is generation:
            del self._under_way[key]

    def _key(self, request: GenerationRequest) -> Hashable:
        sampling = request.sampling
        if sampling.temperature == 0:
            # A greedy answer does not depend on the settings of the random draw.
            sampling = replace(sampling, top_p=1.0, top_k=0, min_p=0.0, seed=None)
        card = self._engine.card(request.prompt.model)
        return (
            "" if self._limits.across_users else request.owner,
            card and card.manifest_hash,
            request.prompt,
            request.max_tokens,
            sampling,
            request.stop,
        )


class _Follower:
    """One request that reads a generation; nothing is known of it but that it is this one."""


class _Generation:
    """One run of the engine. Everybody who joins it gets all its items, from the first one on.

    At its end the earliest follower who is still there counts as the one who caused it; for all
    others the answer is cached.
    """

    def __init__(
        self, stream: Callable[[WorkMeter], AsyncGenerator[Delta | Completion, None]]
    ) -> None:
        self.meter = WorkMeter()
        self.completion: Completion | None = None
        self._deltas: list[Delta] = []
        self._error: BaseException | None = None
        self._caused_by: _Follower | None = None
        self._followers: list[_Follower] = []
        self._news = asyncio.Event()
        self.task = asyncio.create_task(self._run(stream(self.meter)))

    def join(self) -> "_Follower":
        follower = _Follower()
        self._followers.append(follower)
        return follower

    def leave(self, follower: "_Follower") -> bool:
        """Returns whether any follower is left."""
        self._followers.remove(follower)
        return bool(self._followers)

    def is_charged_to(self, follower: "_Follower", *, last: bool) -> bool:
        """Whether this follower pays for the work: the one who caused the answer or, if there is
        no answer, the last one to leave."""
        return last if self.completion is None else self._caused_by is follower

    async def items(self, follower: "_Follower") -> AsyncGenerator[Delta | Completion, None]:
        """Raises what the engine raised."""
        told = 0
        while True:
            news = self._news
            while told < len(self._deltas):
                told += 1
                yield self._deltas[told - 1]
            if self.completion is not None:
                yield replace(self.completion, cached=self._caused_by is not follower)
                return
            if self._error is not None:
                raise self._error
            await news.wait()

    async def _run(self, stream: AsyncGenerator[Delta | Completion, None]) -> None:
        try:
            async with aclosing(stream) as items:
                async for item in items:
                    if isinstance(item, Completion):
                        self.completion = item
                        self._caused_by = self._followers[0] if self._followers else None
                    else:
                        self._deltas.append(item)
                    self._tell()
            if self.completion is None:
                raise InferenceError("the model ended without a completion")
        except BaseException as error:
            self._error = (
                InferenceError("the generation was stopped")
                if isinstance(error, asyncio.CancelledError)
                else error
            )
            self._tell()
            if isinstance(error, asyncio.CancelledError):
                raise

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


def _is_repeatable(request: GenerationRequest) -> bool:
    return request.sampling.temperature == 0 or request.sampling.seed is not None


def _size(completion: Completion) -> int:
    tokens = completion.prompt_tokens + completion.completion_tokens
    return _ENTRY_OVERHEAD_BYTES + 4 * len(completion.text) + _TOKEN_ID_BYTES * tokens
