"""How many bits somebody who guesses would have to try, at most, by what a secret looks like.

An estimate from above cannot tell a drawn secret from a chosen one that looks drawn; it finds what
people type: one letter held down, a word many times, rows of the keyboard, a sentence.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

# Of 300 secrets of each kind that programs draw, with 128 bits or more, none came to less than 93.
SECRET_BITS_MIN = 90
_SEEN_BEFORE = 5
# What people write into a secret and what no drawn one holds by chance.
_CHOSEN = re.compile(
    r"secret|passw|change|example|sample|product|develop|chatledger|default|insecure|dummy|testing"
    r"|letmein|admin|qwert|asdfg|1qaz2wsx",
    re.IGNORECASE,
)
# zxcvbn knows words, names, dates and keyboards, and takes exponentially long for a long text.
_PIECE_CHARACTERS = 16
# No secret needs more of it to be good enough.
_GUESSED_CHARACTERS_MAX = 256


def secret_bits(secret: str) -> float:
    """Never more than the least of: its characters drawn by how often they occur; the steps from
    one to the next drawn likewise; the guesses that its pieces take. 0: what people choose."""
    if _CHOSEN.search(secret):
        return 0.0
    new = _without_repetition(secret)
    steps = [ord(after) - ord(before) for before, after in pairwise(new)]
    return min(_bits(new), _bits(steps), _bits_of_guesses(new[:_GUESSED_CHARACTERS_MAX]))


def _bits_of_guesses(text: str) -> float:
    from zxcvbn import zxcvbn  # Its lists take a while to load, and few commands need them.

    pieces = [
        word[start : start + _PIECE_CHARACTERS]
        for word in text.split()  # The blanks of a sentence are no guess.
        for start in range(0, len(word), _PIECE_CHARACTERS)
    ]
    return sum(math.log2(float(zxcvbn(piece)["guesses"])) for piece in pieces)


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
