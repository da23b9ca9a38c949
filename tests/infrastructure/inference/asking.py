"""Asking an engine, for tests."""

from pathlib import Path

from application.chat.inference import (
    Completion,
    Delta,
    GenerationRequest,
    InferenceEngine,
    ModelCard,
    Role,
    Sampling,
    Turn,
)
from infrastructure.inference.models.engine import OnnxEngineSettings

MODEL = "gemma3-270m"
# With the tiny tokenizer each of the header's characters is a token.
WINDOW = 4096
LONG = 2000


def settings_for(models_dir: Path) -> OnnxEngineSettings:
    return OnnxEngineSettings(
        models_dir=models_dir,
        threads=1,
        context_tokens_max=WINDOW,
        rows_max=1,
        queue_max=1,
        queue_each_max=1,
    )


async def request_for(
    engine: InferenceEngine,
    text: str = "Hello",
    *,
    max_tokens: int = 20,
    sampling: Sampling | None = None,
) -> GenerationRequest:
    turns = [Turn(role=Role.USER, content=text)]
    prompt = await engine.prepare_prompt(MODEL, turns, completion_tokens_wanted=max_tokens)
    return GenerationRequest(
        prompt=prompt,
        max_tokens=max_tokens,
        sampling=sampling or Sampling(repetition_penalty=1.0),
    )


async def answer_to(engine: InferenceEngine, request: GenerationRequest) -> Completion:
    items = [item async for item in engine.stream(request)]
    completion = items[-1]
    assert isinstance(completion, Completion)
    assert all(isinstance(item, Delta) for item in items[:-1])
    return completion


def card_of(engine: InferenceEngine) -> ModelCard:
    return next(card for card in engine.models() if card.name == MODEL)
