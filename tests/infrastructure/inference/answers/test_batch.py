"""Many answers at once on a tiny model: each gets the tokens that it gets alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from application.chat.inference import Completion
from application.chat.inference_errors import GenerationTimedOut, InferenceError, NumbersNotFinite
from infrastructure.inference.answers.generation import LoadedModel
from infrastructure.inference.prepared.config import Precision
from tests.infrastructure.inference.crowd import answers_in_a_crowd, varied_requests
from tests.infrastructure.inference.stepping import Asked, Stepper, answer_alone, request_of
from tests.infrastructure.inference.tiny import (
    BOS_ID,
    TINY,
    TinyWeights,
    host_values,
    prepare_tiny,
    tiny_batch,
    tiny_tokenizer,
)
from tests.infrastructure.inference.uneven_kernels import make_rows_uneven

FOLDER = "gemma3-270m"
ROWS = 6
CHUNK = 16


@pytest.fixture(scope="module", params=[Precision.INT8, Precision.FP32])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    models_dir = tmp_path_factory.mktemp("models")
    prepare_tiny(models_dir, precision=request.param)
    folder = models_dir / FOLDER
    # Some of the prompts below begin with it.
    header = (BOS_ID, *tiny_tokenizer(folder).encode("x" * 20))
    return tiny_batch(folder, rows_max=ROWS, chunk_tokens=CHUNK, header_ids=header)


async def test_every_answer_in_a_busy_batch_is_the_one_it_gets_alone(model: LoadedModel) -> None:
    requests = varied_requests(model, 40, chunk_tokens=CHUNK)
    expected = [answer_alone(model, request) for request in requests]
    for seed in range(2):
        found, most = answers_in_a_crowd(model, requests, seed=seed)
        assert found == expected
        assert most == ROWS, "the batch was full at least once"


async def test_the_logits_of_a_row_have_the_same_bits_whichever_rows_are_beside_it(
    model: LoadedModel,
) -> None:
    session = model.session
    prompts = [[2, *range(100 + row, 110 + 3 * row)] for row in range(ROWS)]
    alone = []
    for ids in prompts:
        first = session.prefill(0, ids, 0, len(ids)).copy()
        alone.append((first[0], session.decode([77], [len(ids)])[0].copy()))
    for place, ids in enumerate(prompts):
        assert np.array_equal(session.prefill(place, ids, 0, len(ids))[0], alone[place][0])
    together = session.decode([77] * ROWS, [len(ids) for ids in prompts])
    for place in range(ROWS):
        assert np.array_equal(together[place], alone[place][1])


async def test_a_stream_waits_for_one_chunk_and_one_step_however_long_a_prompt_comes(
    model: LoadedModel,
) -> None:
    stepper = Stepper(model)
    stream = stepper.ask(request_of(model, max_tokens=100))
    stepper.round()
    long = stepper.ask(request_of(model, "long " * 30, max_tokens=2))
    rounds = 0
    while not long.deltas:
        before = len(stream.items)
        stepper.round()
        rounds += 1
        assert len(stream.items) == before + 1, "every round gives the stream a token"
    assert rounds == -(-151 // CHUNK)


async def test_a_cancelled_answer_gets_no_further_token_and_gives_its_row_back(
    model: LoadedModel,
) -> None:
    stepper = Stepper(model)
    asked = [stepper.ask(request_of(model, max_tokens=50))]
    stepper.round()
    asked.append(stepper.ask(request_of(model, "two", max_tokens=50)))
    stepper.round()
    seen = len(asked[0].items)
    asked[0].job.cancelled = True
    stepper.round()
    assert len(asked[0].items) == seen
    assert stepper.batch.jobs == [asked[1].job]
    assert not host_values(model)[:, 1].any(), "its memory went back to the system"


async def test_an_answer_whose_time_is_over_ends_with_a_typed_error_and_others_go_on(
    model: LoadedModel,
) -> None:
    stepper = Stepper(model)
    late = stepper.ask(request_of(model, max_tokens=50), timeout_s=0)
    stepper.round()
    assert isinstance(late.items[-1], GenerationTimedOut)
    good = stepper.finish(stepper.ask(request_of(model)))
    assert good.completion == answer_alone(model, request_of(model))[1]


async def test_a_step_that_breaks_off_ends_only_the_answer_that_breaks_it(tmp_path: Path) -> None:
    # The graph has fewer positions than the batch was told, so ONNX Runtime refuses later steps.
    prepare_tiny(tmp_path, weights=TinyWeights(replace(TINY, positions_max=64)))
    model = tiny_batch(tmp_path / FOLDER, rows_max=3, chunk_tokens=CHUNK, context_tokens=128)
    stepper = Stepper(model)
    asked: list[Asked] = []
    for text in ("a" * 5, "b" * 55, "c" * 6):
        asked.append(stepper.ask(request_of(model, text, max_tokens=40)))
        while not asked[-1].deltas:
            stepper.round()
    for one in asked:
        stepper.finish(one)
    assert isinstance(asked[1].items[-1], InferenceError)
    for one in (asked[0], asked[2]):
        expected = answer_alone(model, one.job.request)
        assert (one.deltas, one.completion) == expected


async def test_numbers_that_are_not_finite_end_the_answer_with_a_typed_error(
    tmp_path: Path,
) -> None:
    prepare_tiny(tmp_path, weights=TinyWeights(broken=True))
    stepper = Stepper(tiny_batch(tmp_path / FOLDER, chunk_tokens=CHUNK), kept_bytes_max=2**20)
    asked = stepper.finish(stepper.ask(request_of(stepper.model, "x" * 40)))
    assert isinstance(asked.items[-1], NumbersNotFinite)
    assert stepper.batch.jobs == []
    assert stepper.prefix_cache.bytes_kept == 0, "nothing of it serves a later prompt"


async def test_an_idle_kv_cache_holds_no_memory(model: LoadedModel) -> None:
    stepper = Stepper(model)
    asked = [stepper.ask(request_of(model, "x" * 60))]
    while not asked[0].ended:
        if len(asked) < ROWS and stepper.batch.has_room:
            asked.append(stepper.ask(request_of(model, "y" * 50)))
        stepper.round()
    for one in asked:
        assert isinstance(stepper.finish(one).items[-1], Completion)
    assert not host_values(model).any(), "pages given back read as zeros"


async def test_what_left_the_window_is_given_back_and_no_bit_of_the_logits_changes(
    model: LoadedModel,
) -> None:
    session, ids = model.session, [2, *(6 + 7 * number % 500 for number in range(400))]
    session.prefill(0, ids, 0, len(ids))
    next_whole = session.decode_row(0, 9, len(ids)).copy()
    session.prefill(1, ids, 0, len(ids))
    session.kv_cache.trim(1, len(ids))
    assert np.array_equal(session.decode_row(1, 9, len(ids)), next_whole)
    page = 4096 // (4 * TINY.head_dim)
    gone = (len(ids) - TINY.sliding_window) // page * page
    sliding, seeing_all = host_values(model)[0, 1], host_values(model)[-1, 1]
    assert not sliding[:, :gone].any()
    assert sliding[:, gone : len(ids)].all(axis=2).all()
    assert seeing_all[:, 1 : len(ids)].any(axis=2).all()
    session.kv_cache.move(1, 2, len(ids) + 1)
    assert np.array_equal(host_values(model)[:, 2], host_values(model)[:, 1])
    for row in range(3):
        session.kv_cache.release(row)


async def test_kernels_that_do_not_treat_rows_alike_are_found_out_and_change_no_answer(
    tmp_path: Path,
) -> None:
    prepare_tiny(tmp_path)
    make_rows_uneven(tmp_path / FOLDER)
    model = tiny_batch(tmp_path / FOLDER, rows_max=4, chunk_tokens=CHUNK)
    request = request_of(model)
    expected = answer_alone(model, request)
    ids = request.prompt.token_ids
    model.session.prefill(0, ids, 0, len(ids))
    model.session.check_row_independence(ids[-1], len(ids))
    assert not model.session.rows_together
    stepper, asked = Stepper(model), list[Asked]()
    while len(asked) < 4 or not all(one.ended for one in asked):
        if len(asked) < 4 and stepper.batch.has_room:
            asked.append(stepper.ask(request))
        stepper.round()
    assert all((one.deltas, one.completion) == expected for one in asked)


async def test_kernels_that_treat_rows_alike_decode_all_rows_together(model: LoadedModel) -> None:
    ids = request_of(model).prompt.token_ids
    model.session.prefill(0, ids, 0, len(ids))
    model.session.check_row_independence(ids[-1], len(ids))
    assert model.session.rows_together
    for row in range(ROWS):
        model.session.kv_cache.release(row)
