"""docs/architecture.md names every room, and none that is not there."""

import re
from collections.abc import Iterator

import pytest

from tests.architecture.sources import FOLDERS, ROOT
from tests.architecture.test_sizes import LINE_CHARACTERS_MAX

PAGE = ROOT / "docs/architecture.md"
# Rooms of these are those of the code that they test and measure.
IN_ONE_LINE = ("tests", "benchmarks")
# "  accounts/           credits of one user", two blanks deeper than the room that it is in.
ROOM = re.compile(r"(?P<indent> *)(?P<name>\w+)/ {2,}\S")


def named_rooms() -> Iterator[str]:
    section = PAGE.read_text(encoding="utf-8").partition("## Layers\n")[2].partition("\n## ")[0]
    tree = section.split("```")[1]
    path: list[str] = []
    for line in tree.splitlines():
        found = ROOM.match(line)
        if found is not None:
            path[len(found["indent"]) // 2 :] = [found["name"]]
            yield "/".join(path)


def rooms() -> Iterator[str]:
    for top in FOLDERS:
        inner = [] if top in IN_ONE_LINE else (ROOT / top).rglob("__init__.py")
        yield from {top, *(str(file.parent.relative_to(ROOT)) for file in inner)}


def test_every_room_has_its_line_in_the_tree_and_no_other_has_one() -> None:
    assert sorted(named_rooms()) == sorted(rooms())


@pytest.mark.parametrize("name", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_a_line_of_the_pages_for_contributors_fits_beside_another(name: str) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    assert [n for n, line in enumerate(lines, 1) if len(line) > LINE_CHARACTERS_MAX] == []
