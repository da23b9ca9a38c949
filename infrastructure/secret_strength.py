"""How many bits somebody who guesses would have to try, at most, by what a secret looks like.

An estimate from above cannot tell a drawn secret from a chosen one that looks drawn; it finds what
people type: one letter held down, a word many times, rows of the keyboard, a sentence.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

# A secret of 128 bits as 32 hexadecimal digits is estimated at 93 to 123.
SECRET_BITS_MIN = 90
_SEEN_BEFORE = 5
# What people write into a secret and what no drawn one holds by chance.
_CHOSEN = re.compile(
    r"secret|passw|change|example|sample|product|develop|chatledger|default|insecure|dummy|testing"
    r"|letmein|admin|qwert|asdfg|1qaz2wsx",
    re.IGNORECASE,
)
# Shannon, Prediction and Entropy of Printed English, 1951: between 0.6 and 1.3; words that were
# drawn from a long list reach 3.
_BITS_PER_LETTER_OF_A_WORD = 2.5
_WORD = re.compile(r"[A-Z]?[a-z]{4,}|[A-Z][a-z]{3}|[A-Z]{4,}")
# Some of what was drawn looks like a word, but never most of it.
_SHARE_OF_WORDS = 0.55


def secret_bits(secret: str) -> float:
    """Never more than the least of: its characters drawn by how often they occur; the steps from
    one to the next drawn likewise; its words as words of a language. 0: what people choose."""
    if _CHOSEN.search(secret):
        return 0.0
    new = _without_repetition(secret)
    letters = sum(len(word) for word in _WORD.findall(new))
    steps = [ord(after) - ord(before) for before, after in pairwise(new)]
    bits = min(_bits(new), _bits(steps))
    if letters >= _SHARE_OF_WORDS * len(new):
        bits = min(bits, letters * _BITS_PER_LETTER_OF_A_WORD + _bits(_WORD.sub("", new)))
    return bits


def _bits(symbols: Sequence[object]) -> float:
    counts = Counter(symbols).values()
    return sum(-count * math.log2(count / len(symbols)) for count in counts)


def _without_repetition(text: str) -> str:
    """What is left when every piece that stood there before is taken out."""
    kept = []
    position = 0
    while position < len(text):
        piece = text[position : position + _SEEN_BEFORE]
        if len(piece) == _SEEN_BEFORE and piece in text[: position + _SEEN_BEFORE - 1]:
            position += _SEEN_BEFORE
        else:
            kept.append(text[position])
            position += 1
    return "".join(kept)
