"""A graph that optimum exported answers behind the engine as our own does: same tokens, same
rules, its own manifest."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from application.chat.inference import Completion, Sampling
from application.chat.inference_errors import ModelUnavailable
from infrastructure.inference.models.engine import OnnxEngine
from infrastructure.inference.prepared.config import Precision
from infrastructure.inference.prepared.manifest import (
    GRAPH_FILE,
    TOKENIZER_FILE,
    Manifest,
    prepared_manifest,
    read_manifest,
    record_of,
    write_manifest,
)
from infrastructure.inference.prepared.versions import EXPORT_VERSION
from infrastructure.inference.sessions.exported_session import ExportedSession
from infrastructure.inference.sessions.host_session import HostSession, SessionLimits, open_session
from infrastructure.inference.sessions.needs import keeps_rows_on_device
from tests.infrastructure.inference.asking import MODEL, answer_to, request_for, settings_for
from tests.infrastructure.inference.tiny import TinyWeights, prepare_tiny
from tests.parity.export_fixture import CONFIG, checked_file

VIA = "optimum-onnx 0.1.0"
GREEDY = Sampling(temperature=0, repetition_penalty=1.0)
TEXTS = ("Hello", "What is the sea?", "one two three four five six seven eight nine ten " * 4)


def prepare_own(models_dir: Path) -> Manifest:
    weights = TinyWeights(CONFIG)
    return prepare_tiny(models_dir, precision=Precision.FP32, weights=weights, claimed=CONFIG)


def prepare_exported(models_dir: Path, *, graph: Path | None = None) -> Manifest:
    folder = models_dir / MODEL
    own = prepare_own(models_dir)
    if graph is not None:
        shutil.copy(graph, folder / GRAPH_FILE)
    files = {name: record_of(folder / name) for name in (GRAPH_FILE, TOKENIZER_FILE)}
    manifest = replace(own, via=VIA, graph_version=EXPORT_VERSION, files=files)
    write_manifest(manifest, folder)
    return manifest


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    both = {name: tmp_path_factory.mktemp(name) for name in ("own", "exported")}
    prepare_own(both["own"])
    prepare_exported(both["exported"], graph=checked_file())
    return both


@pytest.fixture
async def own(folders: dict[str, Path]) -> AsyncIterator[OnnxEngine]:
    engine = OnnxEngine(settings_for(folders["own"]))
    yield engine
    await engine.close()


@pytest.fixture
async def exported(folders: dict[str, Path]) -> AsyncIterator[OnnxEngine]:
    engine = OnnxEngine(replace(settings_for(folders["exported"]), rows_max=4, queue_max=8))
    yield engine
    await engine.close()


def _without_times(completion: Completion) -> Completion:
    return replace(completion, prefill_ms=0, decode_ms=0)


async def test_an_answer_has_the_same_tokens_as_our_own_graphs_and_cites_another_manifest(
    own: OnnxEngine, exported: OnnxEngine, folders: dict[str, Path]
) -> None:
    manifest = read_manifest(folders["exported"] / MODEL)
    for text in TEXTS:
        ours, theirs = [
            await answer_to(engine, await request_for(engine, text, max_tokens=40, sampling=GREEDY))
            for engine in (own, exported)
        ]
        assert len(set(ours.text)) > 3
        assert (theirs.text, theirs.completion_tokens) == (ours.text, ours.completion_tokens)
        assert theirs.prompt_tokens > CONFIG.sliding_window
        assert theirs.manifest_hash == manifest.hash != ours.manifest_hash


def test_logits_equal_those_of_our_own_graph_for_every_row_and_chunk(
    folders: dict[str, Path],
) -> None:
    limits = SessionLimits(context_tokens=64, threads=1, rows_max=2)
    sessions = [
        kind(open_session(folders[name] / MODEL, threads=1, provider="cpu"), CONFIG, limits)
        for kind, name in ((HostSession, "own"), (ExportedSession, "exported"))
    ]
    ids = np.random.default_rng(3).integers(6, CONFIG.vocab_size, 40).tolist()
    for row, cuts in ((0, (0, 3, 20, 40)), (1, (0, 8, 9))):
        for first, last in pairwise(cuts):
            ours, theirs = [session.prefill(row, ids, first, last).copy() for session in sessions]
            assert ours.shape == theirs.shape == (int(last == len(ids)), CONFIG.vocab_size)
            assert np.abs(ours - theirs).max(initial=0) < 1e-4
    ours, theirs = [session.decode([7, 9], [40, 9]).copy() for session in sessions]
    assert ours.shape == theirs.shape == (2, CONFIG.vocab_size)
    assert np.abs(ours - theirs).max() < 1e-4


async def test_an_answer_is_the_same_alone_beside_others_and_when_its_beginning_is_kept(
    exported: OnnxEngine,
) -> None:
    sampling = Sampling(temperature=1.0, seed=5)
    requests = [
        await request_for(exported, text, max_tokens=30, sampling=sampling) for text in TEXTS
    ]
    alone = [await answer_to(exported, request) for request in requests]
    together = await asyncio.gather(*(answer_to(exported, request) for request in requests))
    assert [_without_times(one) for one in together] == [_without_times(one) for one in alone]


async def test_a_graph_that_is_no_export_is_refused_before_it_answers(tmp_path: Path) -> None:
    prepare_exported(tmp_path)
    engine = OnnxEngine(settings_for(tmp_path))
    with pytest.raises(ModelUnavailable, match=r"model\.onnx.*missing or unknown.*attention_mask"):
        await engine.preload(MODEL)
    await engine.close()


def test_a_manifest_of_our_own_writer_keeps_the_hash_that_answers_cite(tmp_path: Path) -> None:
    own = prepare_own(tmp_path)
    assert b'"via"' not in own.canonical()
    assert read_manifest(tmp_path / MODEL) == own
    there = replace(own, via=VIA)
    assert b'"via":"optimum-onnx 0.1.0"' in there.canonical()
    assert there.hash != own.hash


def test_exports_have_a_version_of_their_own_and_their_rows_stay_on_the_host(
    tmp_path: Path,
) -> None:
    manifest = prepare_exported(tmp_path, graph=checked_file())
    assert prepared_manifest(MODEL, tmp_path) == manifest
    assert not keeps_rows_on_device(manifest, replace(settings_for(tmp_path), on_device=True))
    write_manifest(replace(manifest, graph_version=EXPORT_VERSION + 1), tmp_path / MODEL)
    assert prepared_manifest(MODEL, tmp_path) is None
