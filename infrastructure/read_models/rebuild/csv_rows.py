"""Rows as the CSV that COPY reads. An encoder of JSON makes it, as none in Python is faster."""

import re
from collections.abc import Sequence

import msgspec

from infrastructure.read_models.row_sql import Values, without_nul

COPY_FORMAT = "(FORMAT csv, QUOTE '\"', ESCAPE '\\', NULL 'null')"
_encoder = msgspec.json.Encoder()
# The escapes of JSON that CSV does not know: all but those of the quote and the backslash.
_PLAIN = {
    rb"\n": b"\n",
    rb"\t": b"\t",
    rb"\r": b"\r",
    rb"\b": b"\b",
    rb"\f": b"\f",
    rb"\/": b"/",
}
_NUMBERED = re.compile(rb"\\u([0-9a-f]{4})")


def csv_rows(rows: Sequence[Values], json_columns: Sequence[str]) -> bytes:
    """Lines of CSV whose escape character is the backslash. An array of JSON is nearly that,
    without its brackets and with the few escapes that CSV does not know replaced."""
    for name in json_columns:
        for row in rows:
            if row[name] is not None:
                row[name] = without_nul(_encoder.encode(row[name])).decode()
    # JSON escapes line ends within texts, so this matches between rows only.
    lines = _encoder.encode_lines([list(row.values()) for row in rows]).replace(b"]\n[", b"\n")
    body = without_nul(lines[1:-2]) + b"\n"
    if body.count(b"\\") == body.count(b'\\"'):
        return body
    # Two backslashes are one escape; splitting at them cuts no other escape in two.
    return b"\\\\".join(map(_plain, body.split(b"\\\\")))


def _plain(text: bytes) -> bytes:
    """text: without escaped backslashes."""
    for escape, plain in _PLAIN.items():
        if escape in text:
            text = text.replace(escape, plain)
    if rb"\u" in text:
        text = _NUMBERED.sub(lambda found: chr(int(found[1], 16)).encode(), text)
    return text
