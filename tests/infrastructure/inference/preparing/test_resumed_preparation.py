"""An interrupted conversion continues where it was last safe on disk, with the same result."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from infrastructure.inference.graph.tensor_file import JOURNAL_SUFFIX, StoredTensor, TensorFile
from infrastructure.inference.prepared.config import GemmaConfig, Precision
from infrastructure.inference.prepared.errors import PreparationError
from infrastructure.inference.prepared.manifest import (
    WEIGHTS_FILE,
    Manifest,
    check_hashes,
    prepared_manifest,
)
from infrastructure.inference.preparing.prepare import prepare_model
from tests.infrastructure.inference.hub_folder import CONFIG, NAME, entry_for, write_hub_folder

# As float32 its table is larger than what is written between two flushes.
LARGE: GemmaConfig = replace(CONFIG, hidden_size=256, vocab_size=70_000, layers=2)
Made = list[str]


class BrokenOff(BaseException):
    """Like KeyboardInterrupt not an error, so nothing is cleaned up."""


def _fill(path: Path, made: Made, *, stop_after: int = 99, key: str = "same") -> TensorFile:
    """Writes four tensors, with a checkpoint after every two."""

    def tensor(number: int) -> Callable[[], Any]:
        def make() -> Any:
            made.append(f"made {number}")
            return np.full((3, 2000), number, np.float32)

        return make

    with TensorFile(path, resume_key=key, checkpoint_bytes=1) as file:
        for number in range(4):
            if number == stop_after:
                raise BrokenOff
            stored = file.store_made(tensor(number))
            assert stored == StoredTensor(
                dtype="float32", shape=(3, 2000), offset=stored.offset, length=24_000
            )
            if number % 2:
                file.checkpoint()
    return file


def test_what_was_flushed_is_kept_and_what_came_after_is_made_again(tmp_path: Path) -> None:
    whole = _fill(tmp_path / "whole", [])
    made: Made = []
    with pytest.raises(BrokenOff):
        _fill(tmp_path / "weights", made, stop_after=3)
    assert made == ["made 0", "made 1", "made 2"]
    made.clear()
    resumed = _fill(tmp_path / "weights", made)
    assert made == ["made 2", "made 3"]
    assert resumed.tensors_resumed == 2
    assert resumed.sha256 == whole.sha256
    assert (tmp_path / "weights").read_bytes() == (tmp_path / "whole").read_bytes()
    assert not (tmp_path / f"weights{JOURNAL_SUFFIX}").exists()


def _alter(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)


def _shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:30_000])


def _damage_the_journal(path: Path) -> None:
    path.with_name(path.name + JOURNAL_SUFFIX).write_text('{"key": "same", "size"')


@pytest.mark.parametrize("damage", [_alter, _shorten, _damage_the_journal])
def test_a_file_that_is_not_what_its_journal_says_is_begun_anew(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    whole = _fill(tmp_path / "whole", [])
    with pytest.raises(BrokenOff):
        _fill(tmp_path / "weights", [], stop_after=3)
    damage(tmp_path / "weights")
    made: Made = []
    resumed = _fill(tmp_path / "weights", made)
    assert len(made) == 4
    assert resumed.sha256 == whole.sha256


def test_what_belongs_to_another_source_is_begun_anew(tmp_path: Path) -> None:
    with pytest.raises(BrokenOff):
        _fill(tmp_path / "weights", [], stop_after=3)
    assert _fill(tmp_path / "weights", [], key="other").tensors_resumed == 0


def _prepare(
    tmp_path: Path,
    models: str,
    hear: Callable[[float], None],
    config: GemmaConfig = LARGE,
) -> Manifest:
    return prepare_model(
        NAME,
        tmp_path / models,
        lambda fraction, _sentence: hear(fraction),
        folder=tmp_path / "weights",
        precision=Precision.FP32,
        catalogue=(entry_for(config),),
    )


def test_an_interrupted_preparation_is_taken_up_and_never_loaded_before_it_is_whole(
    tmp_path: Path,
) -> None:
    write_hub_folder(tmp_path / "weights", config=LARGE, dtype=ml_dtypes.bfloat16)
    fresh = _prepare(tmp_path, "fresh", lambda _: None)

    def break_off(fraction: float) -> None:
        if fraction > 0.7:
            raise BrokenOff

    with pytest.raises(BrokenOff):
        _prepare(tmp_path, "resumed", break_off)
    left = tmp_path / "resumed" / f".{NAME}.preparing"
    assert (left / WEIGHTS_FILE).stat().st_size > 70_000_000
    assert prepared_manifest(NAME, tmp_path / "resumed", (entry_for(LARGE),)) is None

    heard: list[float] = []
    resumed = _prepare(tmp_path, "resumed", heard.append)
    # The table takes from 0.1 to 0.61 of the bar; it was not converted again.
    assert not [fraction for fraction in heard if 0.11 < fraction < 0.6]
    assert resumed.files[WEIGHTS_FILE] == fresh.files[WEIGHTS_FILE]
    assert set(resumed.files) == {path.name for path in (left.with_name(NAME)).iterdir()} - {
        "manifest.json"
    }
    check_hashes(resumed, tmp_path / "resumed" / NAME)
    assert not left.exists()


def test_a_preparation_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    write_hub_folder(tmp_path / "weights")

    def fail(fraction: float) -> None:
        if fraction > 0.7:
            raise PreparationError("no more")

    with pytest.raises(PreparationError, match="no more"):
        _prepare(tmp_path, "models", fail, CONFIG)
    assert {path.name for path in (tmp_path / "models").iterdir()} == {".preparing.lock"}
