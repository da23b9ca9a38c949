"""Stepping a batch by hand, for tests: no thread, so every round happens when a test says so."""

from dataclasses import dataclass, field, replace

from application.chat.inference import (
    Completion,
    Delta,
    GenerationRequest,
    PreparedPrompt,
    Sampling,
)
from application.chat.inference_errors import InferenceError
from infrastructure.inference.answers.batch import Batch
from infrastructure.inference.answers.generation import LoadedModel
from infrastructure.inference.answers.jobs import Item, Job, Outbox
from infrastructure.inference.answers.prefix_cache import PrefixCache


@dataclass
class Asked:
    """A job and its items so far."""

    job: Job
    items: list[Item] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        return bool(self.items) and not isinstance(self.items[-1], Delta)

    @property
    def deltas(self) -> list[Delta]:
        return [item for item in self.items if isinstance(item, Delta)]

    @property
    def completion(self) -> Completion:
        completion = self.items[-1]
        assert isinstance(completion, Completion), completion
        return replace(completion, prefill_ms=0, decode_ms=0)


class Stepper:
    """Steps a batch. To be used inside a running event loop, whose queues carry the items."""

    def __init__(self, model: LoadedModel, *, kept_bytes_max: int = 0) -> None:
        self.model = model
        self.prefix_cache = PrefixCache(model.chunks, bytes_max=kept_bytes_max)
        self._outbox = _Collecting()
        self.batch = Batch(model, self.prefix_cache, self._outbox)

    def ask(self, request: GenerationRequest, *, timeout_s: float = 60) -> Asked:
        asked = Asked(Job(request, timeout_s=timeout_s))
        self._outbox.readers[asked.job] = asked
        self.batch.admit(asked.job)
        self._outbox.deliver()
        return asked

    def round(self) -> None:
        self.batch.drop_ended()
        self.batch.step()
        self._outbox.deliver()

    def finish(self, asked: Asked) -> Asked:
        while not asked.ended:
            self.round()
        return asked


class _Collecting(Outbox):
    def __init__(self) -> None:
        super().__init__()
        self.readers: dict[Job, Asked] = {}

    def deliver(self) -> None:
        for job, items in self._items.items():
            self.readers[job].items.extend(items)
        self._items = {}


def request_of(
    model: LoadedModel,
    text: str = "Hello there",
    *,
    max_tokens: int = 40,
    sampling: Sampling | None = None,
    stop: tuple[str, ...] = (),
    owner: str = "",
) -> GenerationRequest:
    ids = (model.tokenizer.bos_id, *model.tokenizer.encode(text))
    room = model.context_tokens - len(ids)
    prompt = PreparedPrompt(model=model.name, token_ids=ids, turns_dropped=0, max_tokens=room)
    return GenerationRequest(
        prompt=prompt,
        max_tokens=max_tokens,
        sampling=sampling or Sampling(),
        stop=stop,
        owner=owner,
    )


def answer_alone(model: LoadedModel, request: GenerationRequest) -> tuple[list[Delta], Completion]:
    """Raises the InferenceError that ended it."""
    stepper = Stepper(model)
    asked = stepper.finish(stepper.ask(request))
    if isinstance(asked.items[-1], InferenceError):
        raise asked.items[-1]
    return asked.deltas, asked.completion
