"""Rows of CSV as PostgreSQL reads them."""

import msgspec
import pytest

from infrastructure.read_models.rebuild.csv_rows import csv_rows


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "",
        "null",
        'a "quote" and a back\\slash',
        "lines\nand\r\ntabs\tand \\n that is none",
        "],\n[",
        "]\n[",
        "\\.",
        "\x00\x01\x1f\x7f",
        "Grüße, 世界 😀",
        "a,b;c",
    ],
)
def test_a_row_of_csv_is_what_postgres_reads(text: str) -> None:
    body = csv_rows([{"a": 1, "b": text, "c": None, "d": {"x": text}}], ["d"])

    fields = _parse(body.decode())

    assert fields[0] == "1"
    stored = text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    assert fields[1] == stored
    assert fields[2] is None
    inner = fields[3]
    assert inner is not None
    assert msgspec.json.decode(inner) == {"x": stored}


def _parse(line: str) -> list[str | None]:
    """PostgreSQL's CSV with QUOTE '"' and ESCAPE '\\', as its documentation of COPY has it: an
    unquoted null is empty, and the escape stands before a quote or itself alone."""
    assert line.endswith("\n")
    fields: list[str | None] = []
    rest = line[:-1]
    while True:
        if rest.startswith('"'):
            value, index = "", 1
            while rest[index] != '"':
                if rest[index] == "\\" and rest[index + 1] in '"\\':
                    index += 1
                value += rest[index]
                index += 1
            fields.append(value)
            rest = rest[index + 1 :]
        else:
            plain, _, _ = rest.partition(",")
            fields.append(None if plain == "null" else plain)
            rest = rest[len(plain) :]
        if not rest:
            return fields
        assert rest[0] == ","
        rest = rest[1:]
