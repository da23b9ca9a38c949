"""What is asked of a password: when it is chosen, and when somebody signs in with it."""

from application.ports import PasswordHasher, PasswordStrength, PasswordTurn
from domain.errors import WeakPassword
from domain.text import check_password, password_forms


class Passwords:
    def __init__(self, hasher: PasswordHasher, strength: PasswordStrength) -> None:
        self._hasher = hasher
        self._strength = strength

    async def chosen(
        self, password: str, *, about: tuple[str, ...], turn: PasswordTurn, seeded: bool = False
    ) -> str:
        """The hash of a new password. about: the person's name and address. seeded: it is the
        documented one of a development service, which anybody could guess.

        Raises WeakPassword, PasswordsBusy.
        """
        composed = check_password(password)
        if not seeded and await self._strength.is_easily_guessed(composed, about=about, turn=turn):
            raise WeakPassword(
                "this password is easily guessed; choose a longer one of several words that do not"
                " belong together, without your name or address"
            )
        return await self._hasher.hash(composed, turn)

    async def match(self, password: str, password_hash: str | None, turn: PasswordTurn) -> bool:
        """Whether the password is the one that was hashed. password_hash: None where there is no
        such user; the answer is then False and takes as long. Raises PasswordsBusy."""
        for form in password_forms(password):
            if password_hash is None:
                await self._hasher.verify_nobody(form, turn)
            elif await self._hasher.verify(form, password_hash, turn):
                return True
        return False
