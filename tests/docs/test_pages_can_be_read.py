"""Pages are read in an editor and in a diff, too."""

from pathlib import Path

import pytest

from tests.docs.pages import ROOT, pages, read, without_code

LINE_CHARACTERS_MAX = 100
PERFORMANCE_LINES_MAX = 120
PICTURE_BYTES_MAX = 200_000


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_line_fits_beside_another(page: Path) -> None:
    """Except for what cannot be broken: rows of tables, code and addresses."""
    lines = enumerate(without_code(read(page)).splitlines(), start=1)
    assert [
        number
        for number, line in lines
        if len(line) > LINE_CHARACTERS_MAX and not line.startswith("|") and "://" not in line
    ] == []


def test_the_performance_page_is_read_at_once() -> None:
    assert len(read(ROOT / "docs/performance.md").splitlines()) <= PERFORMANCE_LINES_MAX


def test_a_picture_is_small() -> None:
    sizes = {path.name: path.stat().st_size for path in (ROOT / "docs/pictures").iterdir()}
    assert {name: size for name, size in sizes.items() if size >= PICTURE_BYTES_MAX} == {}
