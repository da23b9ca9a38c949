"""Strings on which a wrong tokenizer would show."""

import random

_TEXTS = (
    "",
    " ",
    "Hello, world!",
    "  two  spaces and\ttabs\t\tand \n\n\n lines\r\n",
    "def f(x: int) -> str:\n    return f'{x!r}'  # code\n\tif x:\n\t\tpass",
    "Größe, naïve, Ελληνικά, русский, العربية, עברית, हिन्दी, বাংলা, தமிழ், ไทย, 日本語, 한국어, 中文",
    "👍 👩‍👩‍👧‍👦 🇩🇪 🏳️‍🌈 e\u0301 \u200b\u200d\ufeff \U0010ffff",
    "<table><tr><td>1</td></tr></table> <b>bold</b> &amp; [INST]",
    "1234567890 3.14159 1,000,000 0xFF 2**64 ½ ² ①",
    "<0x0A> <0xFF> \u2581\u2581under\u2581score",
    "a" * 300,
    " " * 70 + "x" + "\n" * 40 + "\t" * 35,
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" * 3,
)


def strings() -> list[str]:
    """The same in every run. Each code point below U+0250 is a string of its own, which covers all
    bytes of UTF-8 sequences of one and two bytes; random texts cover the others."""
    draw = random.Random(8)
    found = [*_TEXTS, *(chr(code) for code in range(0x250))]
    for limit in (0x80, 0x800, 0xD7FF):
        found += ["".join(chr(draw.randrange(limit)) for _ in range(60)) for _ in range(60)]
    found += [chr(code) * 2 for code in range(0x10000, 0x110000, 0x3FFF)]
    return found
