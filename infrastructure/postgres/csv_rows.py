"""Rows as the CSV that COPY reads, made by an encoder of JSON."""

import re
from collections.abc import Sequence

import msgspec

from infrastructure.postgres.row_fold import Values

COPY_FORMAT = "(FORMAT csv, QUOTE '\"', ESCAPE '\\', NULL 'null')"
_encoder = msgspec.json.Encoder()
# The escapes of JSON that CSV does not know: all but those of the quote and the backslash.
_ESCAPE = re.compile(rb'\\(?:["\\/bfnrt]|u[0-9a-f]{4})')
_OTHER_ESCAPE = re.compile(rb'\\[^"\\]')
_PLAIN = {
    rb"\/": b"/",
    rb"\b": b"\b",
    rb"\f": b"\f",
    rb"\n": b"\n",
    rb"\r": b"\r",
    rb"\t": b"\t",
    # PostgreSQL's text holds no NUL.
    rb"\u0000": "\N{REPLACEMENT CHARACTER}".encode(),
}


def csv_rows(rows: Sequence[Values], json_columns: Sequence[str]) -> bytes:
    """Lines of CSV whose escape character is the backslash. JSON in arrays is nearly that: what is
    between the brackets, with the few escapes that CSV does not know put in plain."""
    for name in json_columns:
        for row in rows:
            if row[name] is not None:
                row[name] = _encoder.encode(row[name]).decode()
    # No text holds a line end as such, so this cannot be in the middle of one.
    lines = _encoder.encode_lines([list(row.values()) for row in rows]).replace(b"]\n[", b"\n")
    body = lines[1:-2] + b"\n"
    return _ESCAPE.sub(_unescaped, body) if _OTHER_ESCAPE.search(body) else body


def _unescaped(match: re.Match[bytes]) -> bytes:
    found = match.group()
    if found in (b'\\"', b"\\\\"):
        return found
    plain = _PLAIN.get(found)
    return plain if plain is not None else chr(int(found[2:], 16)).encode()
