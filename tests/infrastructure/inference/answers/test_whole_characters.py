"""Wherever an answer is cut off, its text is whole characters: with the real model's tokenizer,
which spends up to four tokens on a character that it does not know."""

from pathlib import Path

import pytest

from application.chat.inference import (
    Completion,
    Delta,
    GenerationRequest,
    Role,
    Sampling,
    Turn,
)
from infrastructure.inference.answers.answer_text import AnswerText
from infrastructure.inference.answers.tokenizer import GemmaTokenizer, IncrementalText
from infrastructure.inference.answers.transcript_template import STOPS
from infrastructure.inference.models.engine import OnnxEngine, OnnxEngineSettings
from infrastructure.inference.prepared.manifest import TOKENIZER_FILE, read_manifest

MODEL = "gemma3-270m"
TEXTS = [
    "🫠🫠🫠",
    "Größe, naïve, Ελληνικά, русский, עברית, हिन्दी, தமிழ், ไทย, 日本語, 한국어, 中文",
    "👍 👩‍👩‍👧‍👦 🇩🇪 🏳️‍🌈 e\u0301 \u200b\u200d\ufeff \U0010ffff 🪿",
    "  two  spaces and\ttabs \n\n\n lines\nUser: no",
    "a replacement character, \ufffd, that was written",
]


@pytest.fixture(scope="module")
def tokenizer(prepared_models: Path) -> GemmaTokenizer:
    folder = prepared_models / MODEL
    manifest = read_manifest(folder)
    file = folder / TOKENIZER_FILE
    return GemmaTokenizer.load(file, bos_id=manifest.bos_id, stop_ids=manifest.stop_ids)


@pytest.mark.parametrize("text", TEXTS)
def test_the_text_of_every_beginning_of_an_answer_is_a_beginning_of_its_text(
    tokenizer: GemmaTokenizer, text: str
) -> None:
    ids, whole = tokenizer.encode(text), text.partition(STOPS[0])[0].strip()
    texts = []
    for cut in range(1, len(ids) + 1):
        characters, visible = IncrementalText(tokenizer), AnswerText(STOPS)
        released = [visible.push(characters.push(token_id)) for token_id in ids[:cut]]
        released.append(visible.finish(cut_off=cut < len(ids)))
        assert "".join(released) == visible.text
        assert whole.startswith(visible.text)
        texts.append(visible.text)
    assert texts[-1] == whole


async def test_an_answer_of_emoji_never_ends_in_half_a_character(prepared_models: Path) -> None:
    """What the model writes depends on the processor; that its characters are whole does not."""
    engine = OnnxEngine(OnnxEngineSettings(models_dir=prepared_models))
    for asked in ("Repeat exactly: 🫠🫠🫠", "Repeat exactly: 🫠🫠🫠 🫨🫨 🪿🪿"):
        turns = [Turn(role=Role.USER, content=asked)]
        for max_tokens in (1, 2, 3, 4, 5, 9):
            prompt = await engine.prepare_prompt(MODEL, turns, completion_tokens_wanted=max_tokens)
            request = GenerationRequest(prompt=prompt, max_tokens=max_tokens, sampling=Sampling())
            *deltas, completion = [item async for item in engine.stream(request)]
            assert isinstance(completion, Completion)
            released = [delta.text for delta in deltas if isinstance(delta, Delta)]
            assert "".join(released) == completion.text
            assert "\ufffd" not in completion.text
    await engine.close()
