"""The Markdown pages of the repository, and where their links can go."""

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"!?\[[^\[\]]*\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def pages() -> list[Path]:
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def without_code(text: str) -> str:
    """The page with its fenced blocks emptied, so that line numbers stay."""
    return _FENCE.sub(lambda block: "\n" * block[0].count("\n"), text)


def headings(page: Path) -> list[str]:
    return _HEADING.findall(without_code(read(page)))


def anchors(page: Path) -> set[str]:
    """As GitHub makes them: https://docs.github.com/get-started/writing-on-github (section links).

    Two headings of the same words would need a number; no page has them.
    """
    return {_anchor(heading) for heading in headings(page)}


def _anchor(heading: str) -> str:
    words = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    kept = (c for c in words if c in " -_" or unicodedata.category(c)[0] in "LN")
    return "".join(kept).replace(" ", "-")


def relative_links(page: Path) -> Iterator[tuple[str, str]]:
    """Path and anchor of each link that stays in the repository; the path is empty on the page."""
    for target in _LINK.findall(without_code(read(page))):
        if not target.startswith(("http:", "https:", "mailto:")):
            path, _, anchor = target.partition("#")
            yield path, anchor
