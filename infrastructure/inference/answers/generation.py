"""One answer while it is generated: takes tokens, gives deltas and at the end a completion."""

import time
from dataclasses import dataclass

from application.chat.inference import Completion, Delta, FinishReason, GenerationRequest
from application.chat.inference_errors import InferenceError
from infrastructure.inference.answers.answer_text import AnswerText
from infrastructure.inference.answers.tokenizer import GemmaTokenizer, IncrementalText
from infrastructure.inference.sessions.chunks import Chunks
from infrastructure.inference.sessions.row_session import RowSession
from infrastructure.inference.sessions.sampling import Sampler


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """Everything that answering needs of a model.

    stops: the template's stop strings. chunks: where its prompts are cut for prefill.
    """

    name: str
    session: RowSession
    tokenizer: GemmaTokenizer
    stops: tuple[str, ...]
    chunks: Chunks
    manifest_hash: str
    context_tokens: int
    runs_on: str


class Generation:
    """Takes the tokens of one batch row as they are sampled.

    Making one raises InferenceError for a request that this model cannot answer.

    length: tokens whose keys and values the KV cache holds once the prompt is prefilled.
    """

    def __init__(self, model: LoadedModel, request: GenerationRequest) -> None:
        ids = request.prompt.token_ids
        self._tokens_max = min(request.max_tokens, request.prompt.max_tokens)
        if self._tokens_max < 1:
            raise InferenceError("max_tokens must be at least 1")
        # The embedding kernel does not check its indices, so they are checked here.
        if not ids or min(ids) < 0 or max(ids) >= model.session.vocab_size:
            raise InferenceError("the prompt is empty or holds tokens that the model does not know")
        if len(ids) + self._tokens_max > model.context_tokens:
            raise InferenceError(
                f"prompt and max_tokens take more than the window of {model.context_tokens} tokens"
            )
        self.sampler = Sampler(request.sampling)
        self.sampler.check(model.session.vocab_size)
        self.prompt_ids = ids
        self.token_ids: list[int] = []
        self._model = model
        self._characters = IncrementalText(model.tokenizer)
        self._visible = AnswerText(model.stops, request.stop)
        self._started = self._prefilled = time.perf_counter()

    @property
    def length(self) -> int:
        return len(self.prompt_ids) + max(0, len(self.token_ids) - 1)

    def take(self, token_id: int) -> list[Delta | Completion]:
        """What the reader gets for this token. A Completion ends the answer."""
        if not self.token_ids:
            self._prefilled = time.perf_counter()
        self.token_ids.append(token_id)
        if token_id in self._model.tokenizer.stop_ids:
            return self._end(FinishReason.STOP)
        delta = self._delta(self._visible.push(self._characters.push(token_id)))
        if self._visible.stopped:
            return [delta, *self._end(FinishReason.STOP)]
        if len(self.token_ids) == self._tokens_max:
            return [delta, *self._end(FinishReason.LENGTH)]
        return [delta]

    def _delta(self, text: str) -> Delta:
        return Delta(text=text, completion_tokens=len(self.token_ids))

    def _end(self, reason: FinishReason) -> list[Delta | Completion]:
        cut_off = reason is FinishReason.LENGTH
        rest = self._visible.finish(cut_off=cut_off)
        completion = Completion(
            text=self._visible.text,
            finish_reason=reason,
            prompt_tokens=len(self.prompt_ids),
            completion_tokens=len(self.token_ids),
            seed=self.sampler.seed,
            manifest_hash=self._model.manifest_hash,
            prefill_ms=(self._prefilled - self._started) * 1000,
            decode_ms=(time.perf_counter() - self._prefilled) * 1000,
        )
        return [self._delta(rest), completion] if rest else [completion]
