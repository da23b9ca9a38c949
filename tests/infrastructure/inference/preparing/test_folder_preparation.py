"""Preparing a model out of a folder: what is refused, with which remedy, and what is kept."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from application.chat.inference import FinishReason, ModelState, Role, Sampling, Turn
from application.chat.inference import GenerationRequest as Request
from infrastructure.inference.models.engine import OnnxEngine
from infrastructure.inference.prepared.catalogue import BY_NAME
from infrastructure.inference.prepared.config import GraphFormat, Precision, Provider
from infrastructure.inference.prepared.errors import NotEnoughDisk, PreparationError, SourceUnusable
from infrastructure.inference.prepared.manifest import Manifest, prepared_manifest
from infrastructure.inference.preparing.model_source import graph_bytes
from infrastructure.inference.preparing.prepare import prepare_model
from tests.infrastructure.inference.asking import answer_to, settings_for
from tests.infrastructure.inference.hub_damage import BAD
from tests.infrastructure.inference.hub_folder import (
    CONFIG,
    NAME,
    change_config,
    entry_for,
    hub_tensors,
    write_hub_folder,
    write_tensors,
)
from tests.infrastructure.inference.tiny import TinyWeights
from tests.interfaces.cli.command import chatledger

CATALOGUE = (entry_for(),)
Heard = list[tuple[float, str]]
SMALLER = (Precision.FP32, Precision.BF16, Precision.INT8, Precision.INT4)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "gemma-3-1b-it"
    write_hub_folder(folder)
    return folder


def _prepare(
    source: Path | None, models: Path, heard: Heard | None = None, **changes: Any
) -> Manifest:
    said: Heard = [] if heard is None else heard
    arguments: dict[str, Any] = {"folder": source, "catalogue": CATALOGUE, **changes}
    return prepare_model(
        arguments.pop("name", NAME), models, lambda *words: said.append(words), **arguments
    )


@pytest.mark.parametrize("case", BAD)
def test_an_unusable_folder_is_refused_naming_the_file_and_leaves_nothing(
    source: Path, tmp_path: Path, case: str
) -> None:
    damage, words = BAD[case]
    damage(source)
    models = tmp_path / "models"
    with pytest.raises(SourceUnusable, match=words) as caught:
        _prepare(source, models)
    assert caught.value.file.is_relative_to(source)
    left = {path.name for path in models.iterdir()} if models.exists() else set()
    assert left <= {".preparing.lock"}
    assert prepared_manifest(NAME, models, CATALOGUE) is None


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Root may read everything, so what is inside runs as another user."""
    if os.name == "nt":
        pytest.skip("needs POSIX rights")
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    yield
    os.seteuid(was)


def test_a_folder_without_rights_is_named_with_the_remedy(source: Path, as_nobody: None) -> None:
    if os.geteuid() != 65534:
        source.chmod(0)
    with pytest.raises(SourceUnusable, match=r"gemma-3-1b-it.*may not.*Give this user the right"):
        _prepare(source, source.parent / "models")
    if os.geteuid() != 65534:
        source.chmod(0o700)


def test_weights_that_would_not_fit_the_disk_are_refused_with_both_numbers(
    source: Path, tmp_path: Path
) -> None:
    with pytest.raises(NotEnoughDisk, match=r"1000000000 MB .* are free"):
        _prepare(source, tmp_path / "models", disk_bytes=10**15)
    sizes = [graph_bytes(CONFIG, GraphFormat.of(precision)) for precision in SMALLER]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("precision", list(Precision))
def test_the_estimate_of_the_disk_is_above_what_is_written(
    source: Path, tmp_path: Path, precision: Precision
) -> None:
    manifest = _prepare(source, tmp_path / "models", precision=precision)
    assert manifest.size_bytes() <= graph_bytes(CONFIG, GraphFormat.of(precision))


def test_a_model_is_prepared_anew_for_another_provider_and_the_manifest_names_it(
    source: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    on_cpu = _prepare(source, models, precision=Precision.INT8)
    assert on_cpu.providers == ("cpu",)
    on_cuda = _prepare(source, models, provider=Provider.CUDA)
    assert (on_cuda.precision, on_cuda.providers) == ("bf16", ("cuda",))
    assert on_cuda.hash != on_cpu.hash
    heard: Heard = []
    assert _prepare(source, models, heard, provider=Provider.CUDA) == on_cuda
    assert not any("Converting" in sentence for _, sentence in heard)
    with pytest.raises(PreparationError, match="fp32 graphs are for CPU, not for CUDA"):
        _prepare(source, models, precision=Precision.FP32, provider=Provider.CUDA)


def test_the_manifest_names_folder_hash_precision_and_licence(source: Path, tmp_path: Path) -> None:
    heard: Heard = []
    manifest = _prepare(source, tmp_path / "models", heard)
    fractions = [fraction for fraction, _ in heard]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert "Gemma Terms of Use" in heard[0][1]
    assert (manifest.source.package, manifest.source.version) == ("gemma-3-1b-it", "local folder")
    assert len(manifest.source.sha256) == 64
    assert (manifest.precision, manifest.licence) == ("int8", "Gemma Terms of Use")
    assert (manifest.bos_id, manifest.stop_ids) == (2, (1, 5))
    assert manifest == prepared_manifest(NAME, tmp_path / "models", CATALOGUE)


def test_a_hubs_snapshot_is_named_by_repository_and_revision(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--google--gemma-3-1b-it" / "snapshots" / "abc123"
    write_hub_folder(snapshot)
    made = _prepare(snapshot, tmp_path / "models").source
    assert (made.package, made.version) == ("google/gemma-3-1b-it", "abc123")


def test_the_same_weights_are_not_converted_twice_but_others_are(
    source: Path, tmp_path: Path
) -> None:
    models, heard = tmp_path / "models", Heard()
    first = _prepare(source, models)
    assert _prepare(source, models, heard) == first == _prepare(None, models)
    assert not any("Converting" in words for _, words in heard)
    exact = _prepare(source, models, precision=Precision.FP32)
    assert exact.precision == "fp32"
    write_tensors(source, hub_tensors(TinyWeights(CONFIG, seed=8), "text", np.float32))
    other = _prepare(source, models)
    assert other.source.sha256 != first.source.sha256
    assert other.hash != first.hash


def test_a_folder_in_place_of_a_name_tells_its_model_by_its_shape(
    source: Path, tmp_path: Path
) -> None:
    manifest = _prepare(None, tmp_path / "models", name=str(source))
    assert manifest.name == NAME
    change_config(source, num_hidden_layers=3)
    with pytest.raises(SourceUnusable, match=r"3 layers.*Known are: Gemma 3 1B has 7 layers"):
        _prepare(None, tmp_path / "models", name=str(source))
    with pytest.raises(PreparationError, match="there is no folder /nowhere"):
        _prepare(None, tmp_path / "models", name="/nowhere/at-all")
    with pytest.raises(PreparationError, match=r"no model 'gpt'.*name a folder"):
        _prepare(None, tmp_path / "models", name="gpt")


def test_a_model_of_a_package_takes_no_folder(source: Path, tmp_path: Path) -> None:
    with pytest.raises(PreparationError, match="comes from the package gemma3-270m"):
        prepare_model("gemma3-270m", tmp_path, lambda *_: None, folder=source)


def test_the_command_line_says_what_is_wrong_with_a_folder(source: Path, tmp_path: Path) -> None:
    def refusal(*arguments: str) -> str:
        return chatledger("models", "prepare", *arguments, folder=tmp_path).refusal()

    said = refusal("gemma3-1b", "--from", str(source))
    assert "config.json" in said
    assert str(BY_NAME["gemma3-1b"].shape) in said
    assert "models prepare gemma3-12b --from FOLDER" in refusal("gemma3-12b")
    assert "there is no folder" in refusal(str(tmp_path / "none"))


async def test_the_engine_answers_with_a_model_out_of_a_folder(
    source: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    engine = OnnxEngine(settings_for(models), catalogue=CATALOGUE)
    assert engine.models()[0].state is ModelState.NOT_PREPARED
    manifest = _prepare(source, models)
    (card,) = engine.models()
    assert (card.name, card.state) == (NAME, ModelState.PREPARED)
    assert card.context_tokens == CONFIG.positions_max
    assert card.manifest_hash == manifest.hash
    turns = [Turn(role=Role.SYSTEM, content="Be kind."), Turn(role=Role.USER, content="Hi")]
    prompt = await engine.prepare_prompt(NAME, turns, completion_tokens_wanted=8)
    assert prompt.token_ids[:2] == (2, 4)
    answer = await answer_to(
        engine, Request(prompt=prompt, max_tokens=8, sampling=Sampling(repetition_penalty=1.0))
    )
    assert answer.completion_tokens == 8
    assert answer.finish_reason is FinishReason.LENGTH
    assert answer.manifest_hash == manifest.hash
    assert engine.models()[0].state is ModelState.READY
    await engine.close()
