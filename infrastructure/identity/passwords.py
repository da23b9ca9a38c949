"""Hashes passwords with bcrypt, and tells how easily a password is guessed."""

import re
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import bcrypt
from zxcvbn import zxcvbn

from application.ports import PasswordTurn
from domain.text import PASSWORD_BYTES_MAX
from infrastructure.identity.password_queue import PasswordLimits, PasswordQueue, background_threads

# The fewest guesses that an attacker may need who knows common passwords, words, names, dates and
# patterns of keyboards (Wheeler, zxcvbn, USENIX Security 2016). zxcvbn counts this many for eight
# random characters.
GUESSES_MIN = 1e8
# zxcvbn's time grows exponentially with characters that stand for others, such as @ for a: 1.6 s
# for 72 of them, 0.02 s for 16. So of a long password only the beginning and the end are counted,
# each by itself, and the better of the two counts.
COUNTED_CHARACTERS_MAX = 16
# A word that an attacker tries for every user of this service.
_SERVICE = "chatledger"
# Shorter words of a name occur in passwords by chance.
KNOWN_CHARACTERS_MIN = 4


class BcryptHasher:
    """bcrypt releases the interpreter lock, so its own threads keep the event loop free."""

    def __init__(self, rounds: int, queue: PasswordQueue | None = None) -> None:
        self._rounds = rounds
        self._queue = queue or PasswordQueue(PasswordLimits())
        self._threads = background_threads(self._queue.at_once, "bcrypt")
        # A hash that no password has, and that takes as long to check as a real one.
        self._nobody = (bcrypt.gensalt(rounds) + b"x" * 31).decode()

    async def hash(self, password: str, turn: PasswordTurn) -> str:
        salt = bcrypt.gensalt(self._rounds)
        encoded = password.encode()
        digest = await self._queue.run(turn, self._threads, bcrypt.hashpw, encoded, salt)
        return digest.decode()

    async def verify(self, password: str, password_hash: str, turn: PasswordTurn) -> bool:
        # What bcrypt cannot read whole, or what cannot be encoded, was never accepted as a
        # password.
        try:
            encoded = password.encode()
        except UnicodeEncodeError:
            return False
        if len(encoded) > PASSWORD_BYTES_MAX or b"\x00" in encoded:
            return False
        expected = password_hash.encode()
        return await self._queue.run(turn, self._threads, bcrypt.checkpw, encoded, expected)

    async def verify_nobody(self, password: str, turn: PasswordTurn) -> None:
        await self.verify(password, self._nobody, turn)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class ZxcvbnStrength:
    """zxcvbn works with lists from its package; nothing leaves the machine."""

    def __init__(self, queue: PasswordQueue | None = None) -> None:
        self._queue = queue or PasswordQueue(PasswordLimits())
        # zxcvbn holds the interpreter lock, so with a low priority it would hold it for longer.
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="password-strength")

    async def is_easily_guessed(
        self, password: str, *, about: tuple[str, ...], turn: PasswordTurn
    ) -> bool:
        return await self._queue.run(
            turn, self._threads, is_easily_guessed, password, about, hashes=False
        )

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def is_easily_guessed(password: str, about: tuple[str, ...]) -> bool:
    """about: the user's name and addresses. The password must also be good without them in it."""
    words = {word for text in (*about, _SERVICE) for word in _words(text)}
    known = sorted(words, key=len, reverse=True)
    plain = _plain(password)
    rest = plain
    for word in known:
        if len(word) >= KNOWN_CHARACTERS_MIN:
            rest = re.sub(re.escape(word), "", rest, flags=re.IGNORECASE)
    return min(_guesses(plain, known), _guesses(rest, known)) < GUESSES_MIN


def _guesses(text: str, known: list[str]) -> float:
    parts = [text]
    if len(text) > COUNTED_CHARACTERS_MAX:
        parts = [text[:COUNTED_CHARACTERS_MAX], text[-COUNTED_CHARACTERS_MAX:]]
    return max(float(zxcvbn(part, known)["guesses"]) if part else 1.0 for part in parts)


def _words(text: str) -> set[str]:
    """The text, what stands before and after the sign of an address, and every word in it."""
    plain = _plain(text).casefold()
    return {word for word in (plain, *plain.split("@"), *re.split(r"[\W_]+", plain)) if word}


def _plain(text: str) -> str:
    """The password with plain letters and blanks instead of full-width ones, which are as easy to
    guess."""
    return unicodedata.normalize("NFKC", text)
