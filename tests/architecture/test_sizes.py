"""A file that grows past its size usually holds two ideas."""

import ast
from collections.abc import Iterator

from tests.architecture.sources import Source, everything

FILE_LINES_MAX = 300
FUNCTION_LINES_MAX = 70
LINE_CHARACTERS_MAX = 100


def functions(source: Source) -> Iterator[tuple[str, int]]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


def test_a_file_fits_in_the_head() -> None:
    lengths = {source.name: len(source.text.splitlines()) for source in everything()}
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES_MAX} == {}


def test_a_function_fits_on_the_screen() -> None:
    assert {
        f"{source.name}:{name}": lines
        for source in everything()
        for name, lines in functions(source)
        if lines > FUNCTION_LINES_MAX
    } == {}


def test_a_line_fits_beside_another() -> None:
    assert [
        f"{source.name}:{number}"
        for source in everything()
        for number, line in enumerate(source.text.splitlines(), start=1)
        if len(line) > LINE_CHARACTERS_MAX
    ] == []
