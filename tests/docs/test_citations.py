"""Nothing in the repository cites a page, a section, a file or a module that is not in it."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, anchors, headings, pages, read, relative_links

_CODE = (
    "*.py",
    *(f"{folder}/**/*.py" for folder in ("domain", "application", "projections")),
    *(f"{folder}/**/*.py" for folder in ("infrastructure", "interfaces")),
    *(f"{folder}/**/*.py" for folder in ("tools", "tests", "benchmarks")),
    "infrastructure/**/*.sql",
    "interfaces/ui/assets/*",
    "scripts/*",
    "Makefile",
    "pyproject.toml",
    ".env.example",
)
_CITED = re.compile(r"(?<![\w/])docs/[\w./-]+\.(?:md|png)")
_CITED_SECTION = re.compile(r'(?<![\w/])(docs/[\w/-]+\.md), "?([A-Z][^".;)\n]*)')
_PATH = re.compile(
    r"`((?:domain|application|projections|infrastructure|interfaces|tools|tests|benchmarks|scripts"
    r"|docs)/[\w./-]+)`"
)
_TEST_FILE = re.compile(r"`(test_\w+\.py)`")
_MODULE = re.compile(r"python -m\s+((?:benchmarks|tests|tools)[\w.]*)")

by_page = pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))


@by_page
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert [
        f"{path}#{anchor}"
        for path, anchor in relative_links(page)
        if not _leads_somewhere(page, path, anchor)
    ] == []


def _leads_somewhere(page: Path, path: str, anchor: str) -> bool:
    target = (page.parent / path).resolve() if path else page
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not anchor or (target.suffix == ".md" and anchor in anchors(target))


@by_page
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        return  # it tells of files as they were
    text = read(page)
    assert [
        path
        for path in _PATH.findall(text)
        if not (ROOT / path).exists() and not path.endswith(".local.json")  # kept by nobody
    ] == []
    tests = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert sorted(set(_TEST_FILE.findall(text)) - tests) == []


def test_every_page_and_picture_can_be_reached_from_the_readme() -> None:
    reached = {(ROOT / path).resolve() for path, _ in relative_links(ROOT / "README.md") if path}
    wanted = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs/pictures").iterdir()]
    assert [path.name for path in wanted if path not in reached] == []


def test_every_decision_is_listed_under_its_title() -> None:
    listed = read(ROOT / "docs/decisions/README.md")
    assert [
        page.name
        for page in (ROOT / "docs/decisions").glob("0*.md")
        if f"]({page.name}) | {headings(page)[0]} |" not in listed
    ] == []


def _code() -> list[Path]:
    return [path for pattern in _CODE for path in sorted(ROOT.glob(pattern)) if path.is_file()]


def test_every_page_that_code_cites_is_there() -> None:
    cited = [
        (str(path.relative_to(ROOT)), page)
        for path in _code()
        for page in _CITED.findall(read(path))
    ]
    assert len(cited) > 10, "this test no longer sees what code cites"
    assert [(where, page) for where, page in cited if not (ROOT / page).exists()] == []


def test_every_section_that_code_cites_is_there() -> None:
    cited = [
        (str(path.relative_to(ROOT)), page, section)
        for path in _code()
        for page, section in _CITED_SECTION.findall(read(path))
    ]
    assert {section for _, _, section in cited} >= {"The chain ends elsewhere than the log"}
    assert [
        (where, page, section)
        for where, page, section in cited
        if section not in headings(ROOT / page)
    ] == []


def _commands() -> Iterator[tuple[str, str]]:
    for path in (*pages(), *_code()):
        if path.name != "CHANGELOG.md":
            for module in _MODULE.findall(read(path)):
                yield str(path.relative_to(ROOT)), module


def test_every_module_that_is_to_be_run_is_there() -> None:
    assert [
        (where, module)
        for where, module in _commands()
        if importlib.util.find_spec(module.rstrip(".")) is None
    ] == []
