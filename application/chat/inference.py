"""The port through which the application asks a language model for text.

The adapter (`infrastructure/inference`) owns sessions, tokenizers and prompt templates; the
application knows models by their catalogue name, conversations as turns, and answers as a
stream of deltas that ends in exactly one `Completion`.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class ModelState(StrEnum):
    READY = "ready"
    LOADING = "loading"
    PREPARED = "prepared"  # on disk, loaded by its first request
    NOT_PREPARED = "not_prepared"
    FAILED = "failed"


class FinishReason(StrEnum):
    STOP = "stop"  # end-of-turn token or a stop string
    LENGTH = "length"  # max_tokens or the model's window
    CANCELLED = "cancelled"  # the client went away
    TIMEOUT = "timeout"  # the time limit, after some of it was delivered
    ERROR = "error"  # the model broke off, after some of it was delivered


class Role(StrEnum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a user may know of a model before paying for it.

    name: catalogue name, as in requests ("gemma3-270m").
    context_tokens: the window, prompt and answer together.
    manifest_hash: hex SHA-256 of the model's manifest, None while not prepared.
    runs_on: the ONNX Runtime provider in use ("CPU", "CUDA"), None while not loaded.
    computed_on: build and class of processor, which may change the last bits of its numbers and so
    its tokens; None while not loaded.
    detail: one sentence on the state, for instance how to prepare the model.
    """

    name: str
    title: str
    context_tokens: int
    state: ModelState
    detail: str
    licence: str
    licence_url: str
    manifest_hash: str | None
    runs_on: str | None
    computed_on: str | None = None


@dataclass(frozen=True, kw_only=True)
class Turn:
    role: Role
    content: str


@dataclass(frozen=True, kw_only=True)
class PreparedPrompt:
    """A prompt as the model will see it.

    token_ids: template and turns, tokenised, begin-of-sequence token included.
    turns_dropped: turns left out at the front so that the rest fits the window; whole exchanges, a
        question with its answer, so it is even where every question was answered.
    max_tokens: the most completion tokens that still fit the window.
    """

    model: str
    token_ids: tuple[int, ...]
    turns_dropped: int
    max_tokens: int


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """temperature 0 is greedy. seed None draws one, which the Completion reports.

    top_k: 0 takes the whole vocabulary. min_p: tokens less likely than this share of the most
    likely one are left out. logit_bias: (token id, what is added to its logit) pairs.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 64
    min_p: float = 0.0
    repetition_penalty: float = 1.1
    seed: int | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """stop: further stop strings beside the template's own; none of them is in the text.

    owner: who asks, opaque to the engine; owners take turns when there is a queue, and share no
    kept answers.
    timeout_s: from asking to the last token, waiting included; None is the engine's own limit.
    """

    prompt: PreparedPrompt
    max_tokens: int
    sampling: Sampling
    stop: tuple[str, ...] = ()
    owner: str = ""
    timeout_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Delta:
    """A piece of the answer, cut so that no character and no stop string is split.

    completion_tokens counts the tokens generated so far, this piece included; text may be ""
    while a stop string or a multi-byte character is still open.
    """

    text: str
    completion_tokens: int


@dataclass(kw_only=True)
class WorkMeter:
    """prompt_tokens_read: how many of the prompt's tokens the model has computed so far."""

    prompt_tokens_read: int = 0


@dataclass(frozen=True, kw_only=True)
class Completion:
    """The end of an answer.

    text: the whole answer, stripped of surrounding white space: what is stored and billed.
    completion_tokens: every token the model generated for it, stop tokens included.
    cached: it was generated for an earlier or a simultaneous request.
    """

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    seed: int | None
    manifest_hash: str
    prefill_ms: float
    decode_ms: float
    cached: bool = False


@dataclass(frozen=True, kw_only=True)
class MemoryReleased:
    """What was released. rss_…_bytes: the process's resident memory. gpu_…_bytes: what the loaded
    models take of the GPU's memory, by the engine's own count."""

    models_unloaded: tuple[str, ...]
    kept_bytes_dropped: int
    rss_before_bytes: int
    rss_after_bytes: int
    gpu_before_bytes: int = 0
    gpu_after_bytes: int = 0

    @property
    def rss_fell_bytes(self) -> int:
        return max(0, self.rss_before_bytes - self.rss_after_bytes)


class InferenceEngine(Protocol):
    """Implementations never block the event loop and never raise anything but InferenceError
    (and asyncio.CancelledError)."""

    def models(self) -> Sequence[ModelCard]:
        """The catalogue, in a fixed order."""

    def card(self, model: str) -> ModelCard | None: ...

    async def prepare_prompt(
        self, model: str, turns: Sequence[Turn], *, completion_tokens_wanted: int
    ) -> PreparedPrompt:
        """Tokenise the turns with the model's template, dropping whole exchanges (a question with
        its answer), oldest first, until the prompt and `completion_tokens_wanted` (at least one
        token) fit the window.

        Loads the model when it is prepared but not loaded.

        Raises UnknownModel, ModelUnavailable, PromptTooLong.
        """

    def is_answered(self, request: GenerationRequest) -> bool:
        """Whether it would be answered now without generating anything for it."""

    def check_room(self, request: GenerationRequest) -> None:
        """Raises EngineBusy, OwnerBusy where the request would be refused now; so that a refusal
        is known before anything is done for it. It reserves nothing."""

    def stream(
        self, request: GenerationRequest, meter: WorkMeter | None = None
    ) -> AsyncGenerator[Delta | Completion, None]:
        """Deltas, then one Completion. Closing the generator (or cancelling its task) stops the
        generation within one step of the model.

        Raises ModelUnavailable, EngineBusy, OwnerBusy, GenerationTimedOut, NumbersNotFinite,
        OutOfMemory, InferenceError.
        """

    async def release_memory(self) -> MemoryReleased:
        """Unload every model that nobody is using, drop what the others keep for later, and give
        freed memory back to the system. The next request loads its model again."""

    async def close(self) -> None: ...
