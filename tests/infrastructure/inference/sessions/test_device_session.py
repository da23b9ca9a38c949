"""Rows and logits that stay on the device; here the device is the CPU.

All but the provider's name is as on CUDA. In fp32 its answers must be the engine's own.
"""

from pathlib import Path

import numpy as np
import pytest

from application.chat.inference import Sampling
from application.chat.inference_errors import NumbersNotFinite
from infrastructure.inference.answers.generation import LoadedModel
from infrastructure.inference.prepared.config import Precision, Provider
from infrastructure.inference.sessions.device_session import DeviceSession
from tests.infrastructure.inference.crowd import answers_in_a_crowd, varied_requests
from tests.infrastructure.inference.stepping import Asked, Stepper, answer_alone, request_of
from tests.infrastructure.inference.tiny import (
    BOS_ID,
    TINY,
    TinyWeights,
    prepare_tiny,
    tiny_batch,
    tiny_tokenizer,
)
from tests.infrastructure.inference.uneven_kernels import make_rows_uneven

FOLDER = "gemma3-270m"
ROWS = 6
CHUNK = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models_dir = tmp_path_factory.mktemp("models")
    prepare_tiny(models_dir, precision=Precision.FP32)
    return models_dir / FOLDER


def _model(folder: Path, *, on_device: bool = True, rows_max: int = ROWS) -> LoadedModel:
    header = (BOS_ID, *tiny_tokenizer(folder).encode("x" * 20))
    return tiny_batch(
        folder, rows_max=rows_max, chunk_tokens=CHUNK, header_ids=header, on_device=on_device
    )


def _checked(model: LoadedModel) -> DeviceSession:
    """The session after the check that a model makes when it is loaded."""
    session = model.session
    assert isinstance(session, DeviceSession)
    ids = [2, *range(20, 40)]
    session.prefill(0, ids, 0, len(ids))
    session.check_row_independence(ids[-1], len(ids))
    for row in range(session.kv_cache.rows):
        session.kv_cache.release(row)
    return session


async def test_every_answer_in_a_busy_batch_is_the_engines_own(folder: Path) -> None:
    host, device = _model(folder, on_device=False), _model(folder)
    session = _checked(device)
    assert (session.rows_together, session.step_sizes) == (True, (1, 2, 4, 6))
    requests = varied_requests(host, 40, chunk_tokens=CHUNK)
    expected = [answer_alone(host, request) for request in requests]
    found, most = answers_in_a_crowd(device, requests, seed=0)
    assert found == expected
    assert most == ROWS, "the batch was full at least once"


async def test_kernels_that_depend_on_the_number_of_rows_always_get_the_same_number(
    tmp_path: Path,
) -> None:
    prepare_tiny(tmp_path, precision=Precision.FP32)
    make_rows_uneven(tmp_path / FOLDER)
    model = _model(tmp_path / FOLDER, rows_max=4)
    session = _checked(model)
    assert (session.rows_together, session.step_sizes) == (True, (4,))
    requests = varied_requests(model, 20, chunk_tokens=CHUNK)
    expected = [answer_alone(model, request) for request in requests]
    found, most = answers_in_a_crowd(model, requests, seed=1)
    assert found == expected
    assert most == 4


@pytest.mark.parametrize("by", ["lengths", "place"])
async def test_kernels_that_depend_on_more_than_the_number_of_rows_decode_them_one_by_one(
    tmp_path: Path, by: str
) -> None:
    prepare_tiny(tmp_path, precision=Precision.FP32)
    make_rows_uneven(tmp_path / FOLDER, by=by)
    model = _model(tmp_path / FOLDER, rows_max=4)
    session = _checked(model)
    assert (session.rows_together, session.step_sizes) == (False, (1,))
    requests = varied_requests(model, 12, chunk_tokens=CHUNK)
    expected = [answer_alone(model, request) for request in requests]
    assert answers_in_a_crowd(model, requests, seed=2)[0] == expected


async def test_logits_have_the_engines_own_bits_after_every_kind_of_step(folder: Path) -> None:
    host, model = _model(folder, on_device=False).session, _model(folder)
    device = model.session
    assert isinstance(device, DeviceSession)
    ids = [2, *range(100, 140)]
    for first, last in ((0, 16), (16, 32), (32, len(ids))):
        expected = host.prefill(2, ids, first, last)
        found = device.prefill(2, ids, first, last)
    assert np.array_equal(device.fetch(found), expected)
    for session in (host, device):
        session.kv_cache.move(2, 0, len(ids))
        session.kv_cache.write(1, 0, session.kv_cache.read(0, 0, 32))
        session.prefill(1, ids, 32, len(ids))
    lengths = [len(ids), len(ids)]
    expected = host.decode([7, 8], lengths)
    assert np.array_equal(device.fetch(device.decode([7, 8], lengths)), expected)
    expected = host.decode_row(1, 9, len(ids) + 1)
    assert np.array_equal(device.fetch(device.decode_row(1, 9, len(ids) + 1)), expected)


def test_a_prompt_under_way_is_untouched_by_steps_that_run_over_its_row(tmp_path: Path) -> None:
    """When steps always take all rows, the row that is being prefilled is stepped too."""
    prepare_tiny(tmp_path, precision=Precision.FP32)
    make_rows_uneven(tmp_path / FOLDER)
    model = _model(tmp_path / FOLDER, rows_max=3)
    session = _checked(model)
    ids = [2, *range(100, 140)]
    for first, last in ((0, 16), (16, len(ids))):
        expected = session.prefill(0, ids, first, last)
    wanted = session.fetch(expected)
    session.prefill(2, ids, 0, 16)
    for step in range(4):
        session.decode([50, 60], [len(ids) + step, step])
    assert np.array_equal(session.fetch(session.prefill(2, ids, 16, len(ids))), wanted)


async def test_numbers_that_are_not_finite_end_the_answer_with_a_typed_error(
    tmp_path: Path,
) -> None:
    prepare_tiny(tmp_path, precision=Precision.FP32, weights=TinyWeights(broken=True))
    stepper = Stepper(_model(tmp_path / FOLDER, rows_max=2), kept_bytes_max=2**20)
    asked = stepper.finish(stepper.ask(request_of(stepper.model, "x" * 40)))
    assert isinstance(asked.items[-1], NumbersNotFinite)
    assert stepper.prefix_cache.bytes_kept == 0, "nothing of it serves a later prompt"


async def test_a_graph_made_for_cuda_keeps_halves_and_answers_alike_alone_and_together(
    tmp_path: Path,
) -> None:
    """fp16 is the one of CUDA's formats that the CPU runs as it is."""
    prepare_tiny(tmp_path, precision=Precision.FP16, provider=Provider.CUDA)
    model = _model(tmp_path / FOLDER, rows_max=4)
    session = _checked(model)
    assert session.kv_cache.bytes_per_token == TINY.kv_bytes_per_token // 2
    requests = varied_requests(model, 16, chunk_tokens=CHUNK)
    expected = [answer_alone(model, request) for request in requests]
    assert answers_in_a_crowd(model, requests, seed=3)[0] == expected


def test_a_step_that_finds_no_row_for_its_tokens_is_a_defect_and_not_a_wrong_answer(
    folder: Path,
) -> None:
    model = _model(folder)
    with pytest.raises(AssertionError, match="cut to the window"):
        model.session.decode([7], [1024])


async def test_a_cancelled_answer_leaves_its_row_to_the_next(folder: Path) -> None:
    model = _model(folder, rows_max=2)
    _checked(model)
    expected = answer_alone(model, request_of(model, "two"))
    stepper, asked = Stepper(model), list[Asked]()
    for text in ("one", "two"):
        asked.append(stepper.ask(request_of(model, text)))
        stepper.round()
    asked[0].job.cancelled = True
    stepper.finish(asked[1])
    assert (asked[1].deltas, asked[1].completion) == expected
    drawn = request_of(model, "three", sampling=Sampling(temperature=1.0, seed=5, top_k=0))
    third = stepper.finish(stepper.ask(drawn))
    assert (third.deltas, third.completion) == answer_alone(_model(folder), drawn)
