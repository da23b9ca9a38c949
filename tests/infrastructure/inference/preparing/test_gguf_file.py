from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize, quantize

from infrastructure.inference.prepared.errors import ModelFileDamaged
from infrastructure.inference.preparing.gguf_file import GgufFile
from infrastructure.inference.preparing.gguf_weights import GgufWeights

MATRIX = np.random.default_rng(5).normal(0, 1, (10, 64)).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "small.gguf"
    writer = gguf.GGUFWriter(path, "gemma3")
    writer.add_context_length(77)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_token_list(["<pad>", "né", "日本"])
    writer.add_token_types([3, 1, 1])
    writer.add_tensor("norm", MATRIX[0])
    writer.add_tensor("plain", MATRIX)
    packed = quantize(MATRIX, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("packed", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_scalars_arrays_and_tensors_are_read_as_they_were_written(path: Path) -> None:
    with GgufFile(path) as file:
        assert file.scalars["general.architecture"] == "gemma3"
        assert file.number("gemma3.context_length") == 77
        assert file.number("gemma3.missing", 5) == 5
        assert file.strings("tokenizer.ggml.tokens") == ["<pad>", "né", "日本"]
        assert file.integers("tokenizer.ggml.token_type").tolist() == [3, 1, 1]
        assert file.shape("plain") == (10, 64)
        assert np.array_equal(file.tensor("norm"), MATRIX[0])
        assert np.array_equal(file.tensor("plain"), MATRIX)


def test_quantised_rows_come_back_in_blocks_as_the_ggml_dequantiser_has_them(path: Path) -> None:
    kind = gguf.GGMLQuantizationType.Q8_0
    expected = dequantize(quantize(MATRIX, kind), kind)
    with GgufFile(path) as file:
        blocks = list(file.row_blocks("packed", 4))
    assert [len(block) for block in blocks] == [4, 4, 2]
    assert np.array_equal(np.concatenate(blocks), expected)


def test_what_is_missing_is_named(path: Path) -> None:
    with GgufFile(path) as file:
        for missing in (
            lambda: file.tensor("absent"),
            lambda: file.strings("absent"),
            lambda: file.number("absent"),
        ):
            with pytest.raises(ModelFileDamaged, match=r"small\.gguf.*absent is missing"):
                missing()


@pytest.mark.parametrize("length", [4, 20, 30, 200])
def test_a_cut_file_is_damaged(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ModelFileDamaged, match=r"small\.gguf"):
        GgufFile(path)


def test_another_format_or_an_empty_file_is_damaged(tmp_path: Path) -> None:
    for content in (b"PK\x03\x04" * 100, b""):
        other = tmp_path / "small.gguf"
        other.write_bytes(content)
        with pytest.raises(ModelFileDamaged, match=r"small\.gguf"):
            GgufFile(other)


def test_another_architecture_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "llama.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with GgufFile(path) as file, pytest.raises(ModelFileDamaged, match="'llama', not gemma3"):
        GgufWeights(file, positions_max=10)
