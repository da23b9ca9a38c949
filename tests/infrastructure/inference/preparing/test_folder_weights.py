"""A model made from a hub's folder computes with its weights, however the folder is laid out."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from infrastructure.inference.graph.gemma_graph import Precision
from infrastructure.inference.graph.graph_writer import GraphWriter
from infrastructure.inference.graph.tensor_file import StoredTensor, TensorFile
from infrastructure.inference.prepared.config import GemmaConfig
from infrastructure.inference.prepared.manifest import (
    GRAPH_FILE,
    WEIGHTS_FILE,
    Manifest,
    check_hashes,
)
from infrastructure.inference.preparing.hub_config import read_hub_config
from infrastructure.inference.preparing.prepare import prepare_model
from infrastructure.inference.preparing.safetensors_folder import SafetensorsFolder
from infrastructure.inference.preparing.safetensors_weights import SafetensorsWeights
from tests.infrastructure.inference.hub_folder import (
    CONFIG,
    NAME,
    Layout,
    entry_for,
    hub_config,
    rounded,
    write_hub_folder,
    write_json,
)
from tests.infrastructure.inference.reference import reference_logits
from tests.infrastructure.inference.tiny import TinyWeights, tiny_session

LAYOUTS: tuple[Layout, ...] = ("text", "old wrapper", "new wrapper")


def _prepared(
    tmp_path: Path, precision: Precision = Precision.FP32, config: GemmaConfig = CONFIG
) -> tuple[Manifest, Path]:
    models = tmp_path / f"models-{precision}"
    manifest = prepare_model(
        NAME,
        models,
        lambda *_: None,
        folder=tmp_path / "weights",
        precision=precision,
        catalogue=(entry_for(config),),
    )
    return manifest, models / NAME


def _logits(folder: Path, config: GemmaConfig, ids: list[int]) -> NDArray[np.float32]:
    session = tiny_session(folder, config=config, chunk_tokens=16)
    for _ in session.prefill(ids, room_for=4):
        pass
    return session.logits.copy()


def _tokens(count: int) -> list[int]:
    return [int(i) for i in np.random.default_rng(count).integers(6, CONFIG.vocab_size, count)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shards", [1, 3])
def test_the_prepared_graph_equals_plain_numpy_within_and_beyond_the_window(
    tmp_path: Path, layout: Layout, shards: int
) -> None:
    weights = write_hub_folder(tmp_path / "weights", layout=layout, shards=shards)
    manifest, folder = _prepared(tmp_path)
    assert manifest.config == CONFIG
    check_hashes(manifest, folder)
    for count in (1, 7, 40):
        expected = reference_logits(weights, _tokens(count), last_only=True)[0]
        assert np.abs(_logits(folder, CONFIG, _tokens(count)) - expected).max() <= 1e-3


def test_the_rope_factor_is_read_and_matters(tmp_path: Path) -> None:
    plain = replace(CONFIG, rope_factor_global=1.0)
    weights = write_hub_folder(tmp_path / "weights", config=plain)
    manifest, folder = _prepared(tmp_path, config=plain)
    assert manifest.config.rope_factor_global == 1.0
    ids = _tokens(40)
    found = _logits(folder, plain, ids)
    assert np.abs(found - reference_logits(weights, ids, last_only=True)[0]).max() <= 1e-3
    scaled = reference_logits(TinyWeights(CONFIG), ids, last_only=True)[0]
    assert np.abs(found - scaled).max() > 1e-2


def test_int8_stays_close_to_fp32_and_the_manifest_says_which_it_is(tmp_path: Path) -> None:
    weights = write_hub_folder(tmp_path / "weights", dtype=ml_dtypes.bfloat16)
    manifest, folder = _prepared(tmp_path, Precision.INT8)
    assert manifest.precision == "int8"
    ids = _tokens(40)
    expected = reference_logits(weights, ids, last_only=True)[0]
    apart = np.linalg.norm(_logits(folder, CONFIG, ids) - expected) / np.linalg.norm(expected)
    assert apart < 0.1


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, np.float32])
def test_every_stored_type_is_read_as_the_float32_it_stands_for(
    tmp_path: Path, dtype: type
) -> None:
    weights = write_hub_folder(tmp_path / "weights", dtype=dtype, shards=2)
    read = SafetensorsWeights(SafetensorsFolder(tmp_path / "weights"), CONFIG)
    for name, values in weights.all_tensors().items():
        shift = np.float32(name.endswith("norm"))
        expected = (values - shift).astype(dtype).astype(np.float32) + shift
        assert np.array_equal(read.tensor(name), expected), name
    blocks = list(read.row_blocks("embedding", 100))
    assert [len(block) for block in blocks] == [100, 100, 100, 100, 100, 12]
    assert np.array_equal(np.concatenate(blocks), read.tensor("embedding"))
    if dtype is ml_dtypes.bfloat16:
        assert np.array_equal(read.tensor("embedding"), rounded(weights.tensor("embedding")))


def test_what_a_published_config_leaves_out_has_its_defaults(tmp_path: Path) -> None:
    inner = {
        "hidden_size": 3840,
        "intermediate_size": 15360,
        "model_type": "gemma3_text",
        "num_attention_heads": 16,
        "num_hidden_layers": 48,
        "num_key_value_heads": 8,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 1024,
    }
    top = {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3"}
    write_json(tmp_path / "config.json", {**top, "text_config": inner})
    assert read_hub_config(tmp_path, positions_max=32_768) == GemmaConfig(
        vocab_size=262_208,
        hidden_size=3840,
        layers=48,
        heads=16,
        kv_heads=8,
        head_dim=256,
        feed_forward_size=15_360,
        norm_epsilon=1e-6,
        sliding_window=1024,
        attention_scale=1 / 16,
        rope_base_global=1_000_000.0,
        rope_base_local=10_000.0,
        rope_factor_global=8.0,
        positions_max=32_768,
        full_attention_every=6,
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_old_and_new_keys_of_a_config_mean_the_same(tmp_path: Path, layout: Layout) -> None:
    write_json(tmp_path / "config.json", hub_config(CONFIG, layout))
    assert read_hub_config(tmp_path, positions_max=512) == CONFIG


def test_a_tensor_beyond_two_and_four_gigabytes_of_the_weights_file_is_found(
    tmp_path: Path,
) -> None:
    import onnxruntime

    offset, values = 5 * 1024**3, np.arange(65_536, dtype=np.float32)
    with (tmp_path / WEIGHTS_FILE).open("wb") as file:
        file.seek(offset)  # A hole: the file takes a few pages of the disk.
        file.write(values.tobytes())
    place = StoredTensor(dtype="float32", shape=values.shape, offset=offset, length=values.nbytes)
    with TensorFile(tmp_path / "unused") as unused:
        graph = GraphWriter(unused)
        graph.input("x", "float32", [values.size])
        graph.output("y", "float32", [values.size])
        graph.node("Add", ["x", graph.initialiser("w", place)], ["y"])
        graph.save(tmp_path / GRAPH_FILE)
    assert (tmp_path / GRAPH_FILE).stat().st_size < 1000
    session = onnxruntime.InferenceSession(
        str(tmp_path / GRAPH_FILE), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"x": np.ones(values.size, np.float32)})
    assert np.array_equal(found, values + 1)


CONVERT = """
import sys
from pathlib import Path
from infrastructure.inference.prepared.config import Precision
from infrastructure.inference.graph.gemma_graph import write_graph
from infrastructure.inference.preparing.hub_config import read_hub_config
from infrastructure.inference.preparing.safetensors_folder import SafetensorsFolder
from infrastructure.inference.preparing.safetensors_weights import SafetensorsWeights
from infrastructure.inference.graph.tensor_file import StoredTensor, TensorFile

def peak_mb():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

folder, target = Path(sys.argv[1]), Path(sys.argv[2])
config = read_hub_config(folder, positions_max=512)
weights = SafetensorsWeights(SafetensorsFolder(folder), config)
before = peak_mb()
write_graph(weights, target, Precision(sys.argv[3]), lambda _: None)
print(peak_mb() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_converting_takes_memory_for_a_tensor_and_not_for_the_model(tmp_path: Path) -> None:
    config = replace(CONFIG, hidden_size=256, feed_forward_size=1024, layers=32, vocab_size=131_072)
    weights = tmp_path / "weights"
    write_hub_folder(weights, config=config, dtype=ml_dtypes.bfloat16, shards=2)
    size_mb = sum(path.stat().st_size for path in weights.glob("*.safetensors")) / 1e6
    assert size_mb > 110
    for precision in (Precision.FP32, Precision.INT8, Precision.INT4):
        command = [sys.executable, "-c", CONVERT, str(weights), str(tmp_path), precision]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        # The table alone takes 134 MB as float32, but passes in blocks of 16 MB, of which a
        # handful of copies is alive at a time.
        assert float(done.stdout) < 100
