"""What is kept of earlier prompts: where the next turn starts, who may use it, and how much."""

import random
from dataclasses import replace

import numpy as np
import pytest

from application.chat.inference import Sampling
from infrastructure.inference.answers.generation import LoadedModel
from infrastructure.inference.answers.prefix_cache import PrefixCache
from infrastructure.inference.sessions.chunks import Chunks
from infrastructure.inference.sessions.host_kv_cache import HostKvCache
from tests.infrastructure.inference.stepping import Asked, Stepper, answer_alone, request_of
from tests.infrastructure.inference.tiny import TINY, host_values, prepare_tiny, tiny_batch

CHUNK = 16
BLOCK_BYTES = TINY.kv_bytes_per_token * CHUNK


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    models_dir = tmp_path_factory.mktemp("models")
    prepare_tiny(models_dir)
    return tiny_batch(models_dir / "gemma3-270m", rows_max=3, chunk_tokens=CHUNK)


def _rounds(stepper: Stepper, asked: Asked) -> int:
    """The rounds until the first token: one for each chunk of the prompt that is computed."""
    rounds = 0
    while not asked.deltas:
        stepper.round()
        rounds += 1
    stepper.finish(asked)
    return rounds


def _settle(stepper: Stepper) -> int:
    chunks = 0
    while stepper.batch.has_answers_to_prefill:
        stepper.batch.prefill_answered()
        chunks += 1
    return chunks


async def test_the_next_turn_computes_only_what_is_new_and_gets_the_same_answer(
    model: LoadedModel,
) -> None:
    stepper = Stepper(model, kept_bytes_max=2**24)
    first = request_of(model, "u" * 100, max_tokens=40, owner="ana")
    assert _rounds(stepper, stepper.ask(first)) == 7
    second = request_of(
        model,
        "u" * 100 + " and so on, at some length",
        sampling=Sampling(temperature=1.0, seed=3),
        owner="ana",
    )
    asked = stepper.ask(second)
    assert _rounds(stepper, asked) == 2, "the first six chunks of eight were kept"
    assert (asked.deltas, asked.completion) == answer_alone(model, second)


async def test_the_answer_itself_is_computed_ahead_while_nobody_asks(model: LoadedModel) -> None:
    stepper = Stepper(model, kept_bytes_max=2**24)
    asked = stepper.ask(request_of(model, "u" * 20, max_tokens=70, owner="ana"))
    while not asked.deltas:
        stepper.round()
    (answer,) = stepper.batch.generations
    stepper.finish(asked)
    assert _settle(stepper) == 4, "21 + 70 tokens make five whole chunks, and one was kept"
    following = (*answer.prompt_ids, *answer.token_ids, 70, 71)
    assert stepper.prefix_cache.kept_tokens("ana", following) == 5 * CHUNK
    assert not host_values(model).any(), "it left no memory behind"
    prompt = replace(asked.job.request.prompt, token_ids=following, max_tokens=99)
    turn = replace(asked.job.request, prompt=prompt)
    second = stepper.ask(turn)
    assert _rounds(stepper, second) == 1
    assert (second.deltas, second.completion) == answer_alone(model, turn)


@pytest.mark.parametrize("length", [1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, 5 * CHUNK + 3])
async def test_logits_after_a_kept_prefix_have_the_bits_of_computing_everything(
    model: LoadedModel, length: int
) -> None:
    draw = random.Random(length)  # The seed makes the tokens the same in every run.
    ids = tuple(draw.randrange(6, 512) for _ in range(5 * CHUNK + 9))
    session, kept = model.session, PrefixCache(model.chunks, bytes_max=2**24)
    shared = (*ids[:length], *(7 for _ in range(40)))
    for prompt in (shared, ids):
        start = kept.restore("", prompt, session.kv_cache, 1)
        for first in range(start, len(prompt), CHUNK):
            last = min(first + CHUNK, len(prompt))
            found = session.prefill(1, prompt, first, last)
            kept.keep("", prompt, last, session.kv_cache, 1)
    assert start == min(length, len(ids) - 1) // CHUNK * CHUNK
    found = found.copy()
    values = session.kv_cache.read(1, 0, len(ids))
    for first in range(0, len(ids), CHUNK):
        expected = session.prefill(0, ids, first, min(first + CHUNK, len(ids)))
    assert np.array_equal(found, expected)
    assert np.array_equal(values, session.kv_cache.read(0, 0, len(ids)))
    session.kv_cache.release(0)
    session.kv_cache.release(1)


def _keep(kept: PrefixCache, kv_cache: HostKvCache, owner: str, ids: tuple[int, ...]) -> None:
    for last in range(1, len(ids) + 1):
        kept.keep(owner, ids, last, kv_cache, 0)


@pytest.fixture
def kv_cache() -> HostKvCache:
    return HostKvCache(TINY, rows=1, tokens=256)


def _ids(number: int, chunks: int = 3) -> tuple[int, ...]:
    return tuple(range(1000 * number, 1000 * number + chunks * CHUNK))


def test_only_what_everybody_begins_with_serves_others(kv_cache: HostKvCache) -> None:
    header = _ids(1, 2)
    kept = PrefixCache(Chunks(chunk_tokens=CHUNK, header_ids=(*header, 5, 6)), bytes_max=2**20)
    prompt = (*header, 5, 6, *_ids(2, 2))
    _keep(kept, kv_cache, "ana", prompt)
    assert kept.kept_tokens("ana", (*prompt, 1)) == 4 * CHUNK + 2
    assert kept.kept_tokens("ben", (*prompt, 1)) == 2 * CHUNK + 2


def test_the_last_token_is_always_computed(kv_cache: HostKvCache) -> None:
    kept = PrefixCache(Chunks(chunk_tokens=CHUNK), bytes_max=2**20)
    _keep(kept, kv_cache, "", _ids(1, 2))
    assert kept.kept_tokens("", _ids(1, 2)) == CHUNK


def test_what_was_used_longest_ago_goes_first_and_ends_before_beginnings(
    kv_cache: HostKvCache,
) -> None:
    kept = PrefixCache(Chunks(chunk_tokens=CHUNK), bytes_max=5 * BLOCK_BYTES)
    _keep(kept, kv_cache, "", _ids(1))
    _keep(kept, kv_cache, "", _ids(2, 2))
    assert kept.bytes_kept == 5 * BLOCK_BYTES
    kept.restore("", (*_ids(1), 0), kv_cache, 0)
    _keep(kept, kv_cache, "", _ids(3, 2))
    found = [kept.kept_tokens("", (*_ids(number), 0)) for number in (1, 2, 3)]
    assert found == [3 * CHUNK, 0, 2 * CHUNK]
    _keep(kept, kv_cache, "", _ids(4, 1))
    assert kept.kept_tokens("", (*_ids(1), 0)) == 2 * CHUNK, "its end went first"
    assert kept.bytes_kept == 5 * BLOCK_BYTES


def test_a_bound_below_one_block_keeps_nothing(kv_cache: HostKvCache) -> None:
    for bound in (0, BLOCK_BYTES - 1):
        kept = PrefixCache(Chunks(chunk_tokens=CHUNK), bytes_max=bound)
        _keep(kept, kv_cache, "", _ids(1))
        assert kept.bytes_kept == 0
