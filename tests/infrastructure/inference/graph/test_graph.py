"""The graph computes Gemma 3: compared with a forward pass in plain numpy."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from infrastructure.inference.graph.gemma_graph import Precision, write_graph
from infrastructure.inference.graph.quantize import BLOCK, quantize_rows
from infrastructure.inference.prepared.config import GemmaConfig
from tests.infrastructure.inference.reference import reference_logits
from tests.infrastructure.inference.sequence_session import SequenceSession
from tests.infrastructure.inference.tiny import TINY, TinyWeights, tiny_session


@pytest.fixture(scope="module")
def fp32_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fp32")
    write_graph(TinyWeights(), folder, Precision.FP32, lambda _: None)
    return folder


@pytest.fixture(scope="module")
def int8_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int8")
    write_graph(TinyWeights(), folder, Precision.INT8, lambda _: None)
    return folder


def _tokens(count: int, seed: int = 1) -> list[int]:
    return [int(i) for i in np.random.default_rng(seed).integers(6, TINY.vocab_size, count)]


def _logits(session: SequenceSession, ids: list[int]) -> NDArray[np.float32]:
    for _ in session.prefill(ids, room_for=64):
        pass
    return session.logits.copy()


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 31, 40])
def test_logits_equal_plain_numpy_for_prompts_shorter_and_longer_than_the_window(
    fp32_folder: Path, count: int
) -> None:
    ids = _tokens(count)
    expected = reference_logits(TinyWeights(), ids)[-1]
    assert np.abs(_logits(tiny_session(fp32_folder), ids) - expected).max() <= 1e-3


def test_decoding_step_by_step_equals_plain_numpy_at_every_position(fp32_folder: Path) -> None:
    ids = _tokens(24)
    expected = reference_logits(TinyWeights(), ids)
    session = tiny_session(fp32_folder)
    found = [_logits(session, ids[:3])]
    for token_id in ids[3:]:
        session.step(token_id)
        found.append(session.logits.copy())
    assert np.abs(np.array(found) - expected[2:]).max() <= 1e-3


def test_global_layers_stretch_positions_by_the_scaling_factor(tmp_path: Path) -> None:
    config: GemmaConfig = replace(TINY, rope_factor_global=8.0)
    weights = TinyWeights(config)
    write_graph(weights, tmp_path, Precision.FP32, lambda _: None)
    ids = _tokens(30)
    found = _logits(tiny_session(tmp_path, config=config), ids)
    assert np.abs(found - reference_logits(weights, ids)[-1]).max() <= 1e-3
    assert np.abs(found - reference_logits(TinyWeights(), ids)[-1]).max() > 1e-2


@pytest.mark.parametrize("chunk", [1, 3, 8, 16])
def test_prefill_in_chunks_gives_the_logits_of_prefill_in_one(
    fp32_folder: Path, chunk: int
) -> None:
    ids = _tokens(40)
    whole = _logits(tiny_session(fp32_folder), ids)
    assert np.abs(_logits(tiny_session(fp32_folder, chunk_tokens=chunk), ids) - whole).max() <= 1e-4


def test_int8_stays_close_to_fp32(int8_folder: Path, fp32_folder: Path) -> None:
    exact, rounded = tiny_session(fp32_folder), tiny_session(int8_folder)
    apart = []
    for seed in range(20):
        ids = _tokens(20, seed)
        one, other = _logits(exact, ids), _logits(rounded, ids)
        apart.append(np.linalg.norm(one - other) / np.linalg.norm(one))
    assert max(apart) < 0.05


def test_the_table_is_stored_once_although_embedding_and_head_use_it(int8_folder: Path) -> None:
    import onnx

    graph = onnx.load(int8_folder / "model.onnx", load_external_data=False).graph
    places = {
        tensor.name: {entry.key: entry.value for entry in tensor.external_data}
        for tensor in graph.initializer
    }
    assert places["embedding.table"] == places["head.levels"] != {}


def test_an_abandoned_prefill_leaves_nothing_behind(int8_folder: Path) -> None:
    session, ids = tiny_session(int8_folder, chunk_tokens=8), _tokens(40)
    next(iter(session.prefill(_tokens(40, 9), room_for=1)))
    again = _logits(session, ids)
    assert np.array_equal(again, _logits(tiny_session(int8_folder, chunk_tokens=8), ids))


def test_quantised_rows_are_within_half_a_step_and_zeros_stay_zeros() -> None:
    rows = np.random.default_rng(3).normal(0, 1, (5, 2 * BLOCK)).astype(np.float32)
    rows[2] = 0
    levels, scales = quantize_rows(rows)
    back = (levels.astype(np.float32) - 128).reshape(5, 2, BLOCK) * scales[:, :, None]
    error = np.abs(back.reshape(5, -1) - rows).reshape(5, 2, BLOCK)
    assert (error <= scales[:, :, None] * 0.501).all()
    assert (back[2] == 0).all()
