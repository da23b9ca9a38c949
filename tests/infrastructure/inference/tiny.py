"""A Gemma 3 with random weights, four layers and 512 tokens, prepared like a real model."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infrastructure.inference.answers.generation import LoadedModel
from infrastructure.inference.answers.tokenizer import GemmaTokenizer
from infrastructure.inference.graph.gemma_graph import Precision, write_graph
from infrastructure.inference.prepared.config import GemmaConfig, Provider
from infrastructure.inference.prepared.manifest import (
    GRAPH_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    Manifest,
    Source,
    record_of,
    write_manifest,
)
from infrastructure.inference.prepared.versions import GRAPH_VERSION, TEMPLATE_VERSION
from infrastructure.inference.sessions.chunks import Chunks
from infrastructure.inference.sessions.device import Device
from infrastructure.inference.sessions.device_session import DeviceLimits, DeviceSession
from infrastructure.inference.sessions.host_session import (
    HostSession,
    SessionLimits,
    open_session,
)
from tests.infrastructure.inference.sequence_session import SequenceSession

SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
BOS_ID = 2
STOP_IDS = (1, 5)

TINY = GemmaConfig(
    vocab_size=512,
    hidden_size=64,
    layers=4,
    heads=4,
    kv_heads=2,
    head_dim=16,
    feed_forward_size=128,
    norm_epsilon=1e-6,
    sliding_window=8,
    attention_scale=0.25,
    rope_base_global=1_000_000.0,
    positions_max=4096,
    full_attention_every=4,
)


class TinyWeights:
    """A `ModelWeights`. Rows of special tokens are zero, so that none of them is ever best."""

    def __init__(self, config: GemmaConfig = TINY, *, seed: int = 7, broken: bool = False) -> None:
        self._config = config
        self._seed = seed
        self._broken = broken

    @property
    def config(self) -> GemmaConfig:
        return self._config

    def tensor(self, name: str) -> NDArray[np.float32]:
        return self._tensors[name]

    def row_blocks(self, name: str, rows: int) -> Iterator[NDArray[np.float32]]:
        table = self._tensors[name]
        for first in range(0, len(table), rows):
            yield table[first : first + rows]

    def all_tensors(self) -> dict[str, NDArray[np.float32]]:
        return dict(self._tensors)

    @cached_property
    def _tensors(self) -> dict[str, NDArray[np.float32]]:
        config, random = self._config, np.random.default_rng(self._seed)
        hidden, queries = config.hidden_size, config.heads * config.head_dim
        keys, ffn = config.kv_heads * config.head_dim, config.feed_forward_size
        shapes: dict[str, tuple[int, ...]] = {"embedding": (config.vocab_size, hidden)}
        norms: dict[str, int] = {"final_norm": hidden}
        for layer in range(config.layers):
            at = f"layers.{layer}"
            shapes |= {f"{at}.q": (queries, hidden), f"{at}.o": (hidden, queries)}
            shapes |= {f"{at}.k": (keys, hidden), f"{at}.v": (keys, hidden)}
            shapes |= {f"{at}.gate": (ffn, hidden), f"{at}.up": (ffn, hidden)}
            shapes |= {f"{at}.down": (hidden, ffn)}
            norms |= {f"{at}.q_norm": config.head_dim, f"{at}.k_norm": config.head_dim}
            for part in ("attention_norm", "attention_post_norm", "ffn_norm", "ffn_post_norm"):
                norms[f"{at}.{part}"] = hidden
        made = {
            name: random.normal(0, 0.15, shape).astype(np.float32) for name, shape in shapes.items()
        }
        made |= {
            name: (1 + random.normal(0, 0.2, size)).astype(np.float32)
            for name, size in norms.items()
        }
        made["embedding"][: len(SPECIAL)] = 0
        if self._broken:
            made["final_norm"][:] = np.nan
        return made


def write_tiny_tokenizer(target: Path) -> None:
    """Bytes and printable ASCII, no merges: one token per character."""
    from tokenizers import AddedToken, Tokenizer, normalizers
    from tokenizers.models import BPE

    tokens = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581"]
    tokens += [chr(code) for code in range(33, 127)]
    tokens += [f"<unused{number}>" for number in range(TINY.vocab_size - len(tokens))]
    backend = Tokenizer(
        BPE(
            vocab={token: place for place, token in enumerate(tokens)},
            merges=[],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    backend.normalizer = normalizers.Replace(" ", "\u2581")
    backend.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    backend.save(str(target))


def prepare_tiny(
    models_dir: Path,
    *,
    name: str = "gemma3-270m",
    precision: Precision = Precision.INT8,
    provider: Provider = Provider.CPU,
    weights: TinyWeights | None = None,
    claimed: GemmaConfig = TINY,
) -> Manifest:
    """A prepared model of that catalogue name in the folder, small enough to load in ms.

    claimed: the configuration that the manifest names, which may differ from the graph's.
    """
    weights = weights or TinyWeights()
    folder = models_dir / name
    folder.mkdir(parents=True)
    write_graph(weights, folder, precision, lambda _: None, provider=provider)
    write_tiny_tokenizer(folder / TOKENIZER_FILE)
    manifest = Manifest(
        name=name,
        title="Tiny",
        precision=precision.value,
        graph_version=GRAPH_VERSION,
        template_version=TEMPLATE_VERSION,
        providers=(provider.value,),
        bos_id=BOS_ID,
        stop_ids=STOP_IDS,
        config=claimed,
        source=Source(package="none", version="0", file="none", sha256="0" * 64),
        licence="none",
        licence_url="https://example.com/",
        files={
            name: record_of(folder / name) for name in (GRAPH_FILE, WEIGHTS_FILE, TOKENIZER_FILE)
        },
    )
    write_manifest(manifest, folder)
    return manifest


def tiny_tokenizer(folder: Path) -> GemmaTokenizer:
    return GemmaTokenizer.load(folder / TOKENIZER_FILE, bos_id=BOS_ID, stop_ids=STOP_IDS)


def tiny_session(
    folder: Path,
    *,
    config: GemmaConfig = TINY,
    chunk_tokens: int = 128,
) -> SequenceSession:
    return SequenceSession(
        open_session(folder, threads=1, provider="cpu"),
        config,
        SessionLimits(context_tokens=4096, threads=1, chunk_tokens=chunk_tokens),
    )


def tiny_batch(
    folder: Path,
    *,
    name: str = "gemma3-270m",
    rows_max: int = 1,
    chunk_tokens: int = 128,
    context_tokens: int = 1024,
    stops: tuple[str, ...] = ("\nUser:",),
    header_ids: tuple[int, ...] = (),
    on_device: bool = False,
) -> LoadedModel:
    """The prepared tiny model, to be stepped by hand. on_device: with the code that CUDA uses."""
    limits = SessionLimits(
        context_tokens=context_tokens,
        threads=1,
        chunk_tokens=chunk_tokens,
        rows_max=rows_max,
    )
    return LoadedModel(
        name=name,
        session=_device_session(folder, limits)
        if on_device
        else HostSession(open_session(folder, threads=1, provider="cpu"), TINY, limits),
        tokenizer=tiny_tokenizer(folder),
        stops=stops,
        chunks=Chunks(chunk_tokens=chunk_tokens, header_ids=header_ids),
        manifest_hash="00",
        context_tokens=context_tokens,
        runs_on="CPU",
    )


def _device_session(folder: Path, limits: SessionLimits) -> DeviceSession:
    device = Device(provider=Provider.CPU)
    session = device.session(str(folder / GRAPH_FILE), arena_bytes=0)
    return DeviceSession(session, TINY, limits, device, DeviceLimits(kept_bytes_max=2**20))


def host_values(model: LoadedModel) -> NDArray[np.float32]:
    """Keys and values of a model that keeps them on the host."""
    assert isinstance(model.session, HostSession)
    return model.session.kv_cache.values
