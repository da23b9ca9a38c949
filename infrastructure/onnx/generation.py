"""From a prompt to an answer, one step of the model at a time. Runs in the engine's worker."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from application.inference import (
    Completion,
    Delta,
    FinishReason,
    GenerationRequest,
    InferenceError,
)
from infrastructure.onnx.answer_text import AnswerText
from infrastructure.onnx.sampling import Sampler
from infrastructure.onnx.session import GemmaSession
from infrastructure.onnx.tokenizer import GemmaTokenizer, IncrementalText


class GenerationCancelled(Exception):
    """The client went away; raised between two steps of the model."""


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """What a model needs to answer. stops: the template's stop strings."""

    name: str
    session: GemmaSession
    tokenizer: GemmaTokenizer
    stops: tuple[str, ...]
    manifest_hash: str
    context_tokens: int
    runs_on: str


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Checked before every step of the model."""

    cancelled: Callable[[], bool]
    timeout_s: float

    def started(self) -> Callable[[], None]:
        deadline = time.monotonic() + self.timeout_s

        def check() -> None:
            if self.cancelled():
                raise GenerationCancelled
            if time.monotonic() > deadline:
                raise InferenceError(f"the answer took longer than {self.timeout_s:g} s")

        return check


def generate(
    model: LoadedModel, request: GenerationRequest, emit: Callable[[Delta], None], watch: Watch
) -> Completion:
    """Emits deltas and returns the end. Raises InferenceError, GenerationCancelled."""
    tokens_max = min(request.max_tokens, request.prompt.max_tokens)
    if tokens_max < 1:
        raise InferenceError("max_tokens must be at least 1")
    ids = request.prompt.token_ids
    # The embedding kernel does not check its indices, so they are checked here.
    if not ids or min(ids) < 0 or max(ids) >= model.session.vocab_size:
        raise InferenceError("the prompt is empty or holds tokens that the model does not know")
    if len(ids) + tokens_max > model.context_tokens:
        raise InferenceError(
            f"prompt and max_tokens take more than the window of {model.context_tokens} tokens"
        )
    check = watch.started()
    started = time.perf_counter()
    for _ in model.session.prefill(ids, room_for=tokens_max):
        check()
    prefilled = time.perf_counter()
    answer = _decode(model, request, tokens_max, emit, check)
    return Completion(
        text=answer.text,
        finish_reason=answer.finish_reason,
        prompt_tokens=len(ids),
        completion_tokens=answer.tokens,
        seed=answer.seed,
        manifest_hash=model.manifest_hash,
        prefill_ms=(prefilled - started) * 1000,
        decode_ms=(time.perf_counter() - prefilled) * 1000,
    )


@dataclass(frozen=True, kw_only=True)
class _Answer:
    text: str
    finish_reason: FinishReason
    tokens: int
    seed: int | None


def _decode(
    model: LoadedModel,
    request: GenerationRequest,
    tokens_max: int,
    emit: Callable[[Delta], None],
    check: Callable[[], None],
) -> _Answer:
    sampler = Sampler(request.sampling)
    characters = IncrementalText(model.tokenizer)
    visible = AnswerText(model.stops, request.stop)
    reason = FinishReason.LENGTH
    tokens = 0
    while True:
        token_id = sampler.pick(model.session.logits)
        tokens += 1
        if token_id in model.tokenizer.stop_ids:
            reason = FinishReason.STOP
            break
        piece = visible.push(characters.push(token_id))
        if visible.stopped:
            reason = FinishReason.STOP
            emit(Delta(text=piece, completion_tokens=tokens))
            break
        if tokens == tokens_max:
            emit(Delta(text=piece, completion_tokens=tokens))
            break
        emit(Delta(text=piece, completion_tokens=tokens))
        check()
        model.session.step(token_id)
    rest = visible.finish(characters.finish(), cut_off=reason is FinishReason.LENGTH)
    if rest:
        emit(Delta(text=rest, completion_tokens=tokens))
    return _Answer(text=visible.text, finish_reason=reason, tokens=tokens, seed=sampler.seed)
