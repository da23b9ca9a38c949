"""The Python files of the repository, parsed."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAYERS = ("domain", "application", "projections", "infrastructure", "interfaces")
FOLDERS = (*LAYERS, "tools", "tests", "benchmarks")


@dataclass(frozen=True)
class Source:
    """name: the path from the repository's root."""

    name: str
    text: str
    tree: ast.Module


@cache
def sources(*folders: str) -> tuple[Source, ...]:
    return tuple(_parse(path) for folder in folders for path in sorted(_files(folder)))


def everything() -> tuple[Source, ...]:
    top = tuple(_parse(path) for path in sorted(ROOT.glob("*.py")))
    return (*sources(*FOLDERS), *top)


def _files(folder: str) -> Iterator[Path]:
    yield from (ROOT / folder).rglob("*.py")


def _parse(path: Path) -> Source:
    text = path.read_text(encoding="utf-8")
    name = str(path.relative_to(ROOT))
    return Source(name, text, ast.parse(text, name))
