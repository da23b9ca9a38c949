"""An inference engine that answers what a test tells it to, when it tells it to.

It keeps the contract of `application.chat.inference.InferenceEngine` (tests/application/
test_engine_contract.py holds it and the real engine to the same tests): a token is a word.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from application.chat.inference import (
    Completion,
    Delta,
    FinishReason,
    GenerationRequest,
    MemoryReleased,
    ModelCard,
    ModelState,
    PreparedPrompt,
    Turn,
    WorkMeter,
)
from application.chat.inference_errors import (
    EngineBusy,
    InferenceError,
    ModelUnavailable,
    PromptTooLong,
    UnknownModel,
)
from infrastructure.inference.answers.transcript_template import exchanges

MODEL = "gemma3-270m"
COMPUTED_ON = "a script, CPU x86_64 avx2"
MANIFEST_HASH = hashlib.sha256(b"scripted").hexdigest()
# Begin-of-sequence, and the opening of the answer.
_TEMPLATE_TOKENS = 2


class Pause:
    """A place where a generation waits until the test lets it go on."""

    def __init__(self) -> None:
        self._reached = asyncio.Event()
        self._open = asyncio.Event()

    async def reached(self) -> None:
        """Returns when a generation waits here."""
        async with asyncio.timeout(20):
            await self._reached.wait()

    def go_on(self) -> None:
        self._open.set()

    async def stand(self) -> None:
        self._reached.set()
        await self._open.wait()


Step = str | Pause | Exception


@dataclass(frozen=True, kw_only=True)
class Script:
    """One answer: texts (a token each), pauses, and perhaps an error at its end."""

    steps: tuple[Step, ...]


def script(*steps: Step) -> Script:
    return Script(steps=steps)


DEFAULT_ANSWER = script("The ", "answer ", "is ", "42.")


class ScriptedEngine:
    """Answers with the scripts in `script_next`, one for each generation, and then with
    DEFAULT_ANSWER.

    prompts: the turns of every prompt that was prepared. running: generations under way.
    stopped_early: generations whose consumer went away before they were done. full: whether the
    queue has no place. queue: where generations wait before they begin.
    """

    def __init__(self, *, context_tokens: int = 200) -> None:
        self._context_tokens = context_tokens
        self._scripts: deque[Script] = deque()
        self.default = DEFAULT_ANSWER
        self.prompts: list[tuple[Turn, ...]] = []
        self.requests: list[GenerationRequest] = []
        self.running = 0
        self.stopped_early = 0
        self.state = ModelState.READY
        self.full = False
        self.queue: Pause | None = None

    def script_next(self, *scripts: Script) -> None:
        self._scripts.extend(scripts)

    def models(self) -> Sequence[ModelCard]:
        prepared = self._card(MODEL, self.state, "Ready.", MANIFEST_HASH)
        missing = "Not prepared yet: prepare it first."
        return [
            prepared,
            self._card("gemma3-1b", ModelState.NOT_PREPARED, missing, None),
            self._card("gemma3-4b", ModelState.NOT_PREPARED, missing, None),
            self._card("gemma3-12b", ModelState.NOT_PREPARED, missing, None),
        ]

    def card(self, model: str) -> ModelCard | None:
        return next((card for card in self.models() if card.name == model), None)

    async def prepare_prompt(
        self, model: str, turns: Sequence[Turn], *, completion_tokens_wanted: int
    ) -> PreparedPrompt:
        card = self.card(model)
        if card is None:
            raise UnknownModel(f"there is no model {model!r}")
        if card.state is not ModelState.READY:
            raise ModelUnavailable(f"{card.title} cannot answer. {card.detail}")
        if not turns:
            raise InferenceError("a prompt needs at least one turn")
        last = _tokens(turns[-1])
        room = self._context_tokens - _TEMPLATE_TOKENS - 1
        if len(last) > room:
            raise PromptTooLong(prompt_tokens=len(last), prompt_tokens_max=room)
        budget = self._context_tokens - _TEMPLATE_TOKENS - max(1, completion_tokens_wanted)
        kept: list[list[int]] = [last]
        for exchange in reversed(exchanges(turns[:-1])):
            pieces = [_tokens(turn) for turn in exchange]
            if sum(map(len, (*pieces, *kept))) > budget:
                break
            kept = pieces + kept
        ids = (0, *(token for piece in kept for token in piece), 1)
        self.prompts.append(tuple(turns))
        return PreparedPrompt(
            model=model,
            token_ids=ids,
            turns_dropped=len(turns) - len(kept),
            max_tokens=self._context_tokens - len(ids),
        )

    def is_answered(self, _request: GenerationRequest) -> bool:
        return False

    def check_room(self, _request: GenerationRequest) -> None:
        if self.full:
            raise EngineBusy(retry_after_s=3)

    async def stream(
        self, request: GenerationRequest, meter: WorkMeter | None = None
    ) -> AsyncGenerator[Delta | Completion, None]:
        steps = self._scripts.popleft().steps if self._scripts else self.default.steps
        tokens_max = min(request.max_tokens, request.prompt.max_tokens)
        if tokens_max < 1:
            raise InferenceError("max_tokens must be at least 1")
        self.requests.append(request)
        if self.queue is not None:
            await self.queue.stand()
        if meter is not None:
            meter.prompt_tokens_read += len(request.prompt.token_ids)
        self.running += 1
        done = False
        try:
            text, tokens, reason = "", 0, FinishReason.STOP
            for step in steps:
                if isinstance(step, Pause):
                    await step.stand()
                    continue
                if isinstance(step, Exception):
                    done = True
                    raise step
                if tokens == tokens_max:
                    reason = FinishReason.LENGTH
                    break
                # As a real model does between two tokens.
                await asyncio.sleep(0)
                tokens += 1
                piece, stopped = _until_stop(text, step, request.stop)
                text += piece
                yield Delta(text=piece, completion_tokens=tokens)
                if stopped:
                    break
            done = True
            yield self._completion(request, text, tokens, reason)
        finally:
            self.running -= 1
            self.stopped_early += not done

    async def release_memory(self) -> MemoryReleased:
        """There is nothing to release."""
        return MemoryReleased(
            models_unloaded=(), kept_bytes_dropped=0, rss_before_bytes=1, rss_after_bytes=1
        )

    async def close(self) -> None:
        """Nothing is kept between answers."""

    def _completion(
        self, request: GenerationRequest, text: str, tokens: int, reason: FinishReason
    ) -> Completion:
        sampling = request.sampling
        drawn = 7 if sampling.temperature > 0 else None
        return Completion(
            text=text.strip(),
            finish_reason=reason,
            prompt_tokens=len(request.prompt.token_ids),
            completion_tokens=tokens,
            seed=drawn if sampling.seed is None else sampling.seed,
            manifest_hash=MANIFEST_HASH,
            prefill_ms=0.0,
            decode_ms=0.0,
        )

    def _card(
        self, name: str, state: ModelState, detail: str, manifest_hash: str | None
    ) -> ModelCard:
        return ModelCard(
            name=name,
            title=name.title(),
            context_tokens=self._context_tokens,
            state=state,
            detail=detail,
            licence="none",
            licence_url="https://example.com/licence",
            manifest_hash=manifest_hash,
            runs_on="CPU" if state is ModelState.READY else None,
            computed_on=COMPUTED_ON if state is ModelState.READY else None,
        )


def _tokens(turn: Turn) -> list[int]:
    """One token for the speaker, and one for each word."""
    words = [turn.role.value, *turn.content.split()]
    return [2 + int.from_bytes(hashlib.sha256(word.encode()).digest()[:2]) for word in words]


def _until_stop(before: str, piece: str, stops: Sequence[str]) -> tuple[str, bool]:
    """The piece up to a stop string that begins in it; scripts split no stop string."""
    places = [place for stop in stops if (place := (before + piece).find(stop)) >= 0]
    if not places:
        return piece, False
    return (before + piece)[len(before) : min(places)], True
