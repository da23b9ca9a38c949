"""`models export --via optimum`: what it hands over, what it takes back, and what it refuses.

optimum itself is a gigabyte of torch, so a small program stands in its place here: it reads the
folder that is handed over and gives back what optimum once made of the same weights.
"""

import os
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from infrastructure.inference.prepared.catalogue import BY_NAME
from infrastructure.inference.prepared.errors import NotEnoughDisk, PreparationError
from infrastructure.inference.prepared.manifest import (
    GRAPH_FILE,
    WEIGHTS_FILE,
    Manifest,
    check_hashes,
    prepared_manifest,
)
from infrastructure.inference.preparing.hub_config import read_hub_config
from infrastructure.inference.preparing.hub_copy import write_hub_copy
from infrastructure.inference.preparing.optimum_export import PINS, VIA, OptimumSource, export_model
from infrastructure.inference.preparing.own_environment import EnvironmentMissing, OwnEnvironment
from infrastructure.inference.preparing.prepare import prepare_from
from infrastructure.inference.preparing.safetensors_folder import SafetensorsFolder
from infrastructure.inference.preparing.safetensors_weights import SafetensorsWeights, tensor_shapes
from tests.infrastructure.inference.hub_folder import change_config, write_hub_folder
from tests.infrastructure.inference.tiny import BOS_ID, TINY, TinyWeights
from tests.parity.export_fixture import FP32, SOURCE, TinySource, checked_file

ENTRY = BY_NAME["gemma3-270m"]
EXPORTER = f"""#!{sys.executable}
import json, os, pathlib, shutil, sys
*options, hub, target = sys.argv[1:]
assert options == ["export", "onnx", "--task", "text-generation-with-past", "--model"], options
assert os.environ["HF_HUB_OFFLINE"] == "1"
index = json.loads((pathlib.Path(hub) / "model.safetensors.index.json").read_text())
assert all((pathlib.Path(hub) / name).exists() for name in index["weight_map"].values())
pathlib.Path(target).mkdir()
shutil.copy({str(checked_file())!r}, pathlib.Path(target) / "model.onnx")
"""


@dataclass(frozen=True)
class Interrupted:
    """How the first attempt at an environment ended; the second one continued it."""

    refusal: str
    had_python: bool
    was_ready: bool


@pytest.fixture(scope="module")
def begun(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[OwnEnvironment, Interrupted]:
    """A real environment without packages, made at the second attempt: the first wanted a package
    and had no index."""
    folder = tmp_path_factory.mktemp("environments")
    pins = folder / "pins.txt"
    pins.write_text("no-such-package-of-ours==1\n")
    made = OwnEnvironment(folder=folder / "optimum", pins=pins, with_torch=False)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PIP_")]:
            patch.delenv(name)
        patch.setenv("PIP_CONFIG_FILE", os.devnull)
        patch.setenv("PIP_NO_INDEX", "1")
        with pytest.raises(EnvironmentMissing) as caught:
            made.make()
        first = Interrupted(str(caught.value), made.python.exists(), made.ready)
        pins.write_text("# nothing any more\n")
        made.make()
    _exporter(made, EXPORTER)
    return made, first


@pytest.fixture
def environment(begun: tuple[OwnEnvironment, Interrupted]) -> OwnEnvironment:
    """An environment with a program named like optimum's."""
    return begun[0]


def _exporter(environment: OwnEnvironment, program: str) -> None:
    script = environment.script("optimum-cli")
    script.write_text(program)
    script.chmod(0o755)


def _export(
    models_dir: Path, environment: OwnEnvironment, *, disk_bytes: int = 1_000_000
) -> Manifest:
    source = OptimumSource(ENTRY, TinySource(disk_bytes), environment)
    source.refuse_too_little_memory()
    return prepare_from(source, ENTRY, FP32, models_dir, lambda _done, _said: None)


def test_an_export_is_a_prepared_model_whose_manifest_says_that_optimum_made_it(
    environment: OwnEnvironment, tmp_path: Path
) -> None:
    manifest = _export(tmp_path, environment)
    folder = tmp_path / ENTRY.name
    assert (manifest.via, manifest.precision, manifest.source) == (VIA, "fp32", SOURCE)
    assert manifest.licence == "Gemma Terms of Use"
    assert prepared_manifest(ENTRY.name, tmp_path) == manifest
    check_hashes(manifest, folder)
    assert {path.name for path in folder.iterdir()} == {*manifest.files, "manifest.json"}
    assert (folder / WEIGHTS_FILE).stat().st_size > 100_000 > (folder / GRAPH_FILE).stat().st_size
    assert (folder / WEIGHTS_FILE).stat().st_mode == (folder / GRAPH_FILE).stat().st_mode


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; sys.exit('no such operator')", "could not export.*no such operator.*log"),
        ("import os; os.kill(os.getpid(), 9)", "want of memory: free about"),
    ],
)
def test_an_export_that_breaks_off_leaves_no_model_behind(
    environment: OwnEnvironment, tmp_path: Path, program: str, said: str
) -> None:
    _exporter(environment, f"#!{sys.executable}\n{program}\n")
    try:
        with pytest.raises(PreparationError, match=said):
            _export(tmp_path, environment)
    finally:
        _exporter(environment, EXPORTER)
    assert prepared_manifest(ENTRY.name, tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == [".preparing.lock"]
    assert _export(tmp_path, environment).via == VIA


def test_too_little_disk_or_memory_is_refused_with_numbers(
    environment: OwnEnvironment, tmp_path: Path
) -> None:
    source = OptimumSource(ENTRY, TinySource(10**18), environment)
    with pytest.raises(NotEnoughDisk, match=r"needs 3000000000000 MB.*free some space"):
        prepare_from(source, ENTRY, FP32, tmp_path, lambda _done, _said: None)
    with pytest.raises(PreparationError, match=r"5000000000 GB of memory.*models prepare"):
        source.refuse_too_little_memory()


def test_other_architectures_are_refused_before_any_environment_is_made(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    write_hub_folder(weights)
    change_config(weights, architectures=["LlamaForCausalLM"], model_type="llama")
    environment = OwnEnvironment(folder=tmp_path / "optimum", pins=PINS)
    with pytest.raises(PreparationError, match="LlamaForCausalLM, not Gemma3ForCausalLM"):
        export_model("gemma3-1b", tmp_path, environment, lambda _done, _said: None, folder=weights)
    assert not environment.folder.exists()


def test_without_an_index_the_refusal_says_so_and_the_next_run_goes_on(
    begun: tuple[OwnEnvironment, Interrupted],
) -> None:
    environment, first = begun
    assert "cannot be fetched: connect this machine to a package index" in first.refusal
    assert "PIP_INDEX_URL" in first.refusal
    assert str(environment.log) in first.refusal
    assert first.had_python
    assert not first.was_ready
    assert environment.ready


def test_a_python_without_packages_and_a_full_disk_are_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    pins = tmp_path / "pins.txt"
    pins.write_text("")
    folder = tmp_path / "none" / "own"
    older = OwnEnvironment(folder=folder, pins=pins, pythons=(6, 7))
    with pytest.raises(EnvironmentMissing, match=r"run this command with a Python from 3\.6"):
        older.make()
    larger = OwnEnvironment(folder=folder, pins=pins, needed_bytes=10**18)
    with pytest.raises(EnvironmentMissing, match=r"takes 1000000000\.0 GB, but only.*free some"):
        larger.make()
    assert not folder.parent.exists()


def test_an_environment_of_other_pins_is_made_anew(
    environment: OwnEnvironment, tmp_path: Path
) -> None:
    shutil.copytree(environment.folder, tmp_path / "own", symlinks=True)
    same = replace(environment, folder=tmp_path / "own")
    left = same.folder / "left-over"
    left.touch()
    assert same.make() == same.python
    assert left.exists()
    pins = tmp_path / "pins.txt"
    pins.write_text("# other versions\n")
    other = replace(same, pins=pins)
    assert not other.ready
    other.make()
    assert other.ready
    assert not left.exists()


def test_what_is_handed_over_reads_as_what_it_was_made_of(tmp_path: Path) -> None:
    config = replace(TINY, rope_factor_global=8.0)
    weights = TinyWeights(config)
    write_hub_copy(weights, tmp_path / "hub", bos_id=BOS_ID)
    assert read_hub_config(tmp_path / "hub", positions_max=config.positions_max) == config
    read = SafetensorsWeights(SafetensorsFolder(tmp_path / "hub"), config)
    for name in tensor_shapes(config):
        assert np.abs(read.tensor(name) - weights.tensor(name)).max() < 1e-6


def test_the_manifest_names_the_version_that_is_pinned() -> None:
    package, version = VIA.split()
    pinned = [line for line in PINS.read_text().splitlines() if line.startswith(package)]
    assert [line.split("==")[1] for line in pinned] == [version]
