"""What the pages point to is there."""

import re
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])
# Its entries name files as they were then.
HISTORY = ROOT / "CHANGELOG.md"
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
FILE = re.compile(r"`((?:[\w.-]+/)+[\w-]+\.(?:py|sql|md|toml))`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_links_or_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    linked = [page.parent / link for link in LINK.findall(text) if "://" not in link]
    named = [] if page == HISTORY else [ROOT / name for name in FILE.findall(text)]
    assert [str(path) for path in (*linked, *named) if not path.exists()] == []
