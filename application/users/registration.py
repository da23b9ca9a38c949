"""A new user: the user, both claims, the account and its welcome credits are one commit."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from application.ledger.idempotency import Outcome, decode_result, once
from application.ledger.ledger import Ledger, Transaction
from application.ledger.streams import ACCOUNT, CLAIM, IDEMPOTENCY, USER
from application.ports import Clock, IdSource, PasswordTurn
from application.users.passwords import Passwords
from domain.accounts import commands as account_commands
from domain.accounts.decider import decide as decide_account
from domain.claims.idempotency import Completed, IdempotencyKey, key_reused
from domain.claims.uniqueness import claim
from domain.errors import Conflict, EmailTaken, UsernameTaken
from domain.identifiers import account_id, email_claim_id, username_claim_id
from domain.text import check_email, check_password, check_username
from domain.users.commands import AssignRole, RegisterUser
from domain.users.decider import decide as decide_user
from domain.users.events import UserRole


@dataclass(frozen=True, kw_only=True)
class RegisteredUser:
    user_id: UUID
    username: str
    email: str
    email_verified: bool


@dataclass(frozen=True, kw_only=True)
class NewUser:
    """seeded: the documented user of a development service."""

    username: str
    email: str
    password: str
    role: UserRole
    seeded: bool


class Registration:
    def __init__(
        self,
        *,
        ledger: Ledger,
        clock: Clock,
        ids: IdSource,
        passwords: Passwords,
        welcome_micro: int,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._ids = ids
        self._passwords = passwords
        self._welcome_micro = welcome_micro

    async def register(
        self, new: NewUser, key: IdempotencyKey | None, turn: PasswordTurn
    ) -> Outcome[RegisteredUser]:
        """The cheap checks come first and the slow hash last.

        A key's stored request hash leaves the password out, because it could be guessed from it.
        So when a registration is sent again, its password is compared with the hash that the
        first one stored.

        Raises InvalidUsername, InvalidEmail, WeakPassword, UsernameTaken, EmailTaken,
        IdempotencyKeyReused, PasswordsBusy.
        """
        check_username(new.username)
        check_email(new.email)
        check_password(new.password)
        outcome = await self._found(new, key) or await self._store(new, key, turn)
        if outcome.replayed:
            await self._check_same_password(outcome.result.user_id, new.password, turn)
        return outcome

    async def _found(
        self, new: NewUser, key: IdempotencyKey | None
    ) -> Outcome[RegisteredUser] | None:
        """What the key has recorded. Raises UsernameTaken, EmailTaken, IdempotencyKeyReused."""
        recorded = await self._recorded(key)
        if recorded is not None:
            return recorded
        try:
            await self._ledger.read(lambda transaction: _check_free(transaction, new))
        except Conflict:
            # Perhaps the same registration was sent twice at once, and has taken the name.
            recorded = await self._recorded(key)
            if recorded is None:
                raise
        return recorded

    async def _recorded(self, key: IdempotencyKey | None) -> Outcome[RegisteredUser] | None:
        if key is None:
            return None
        status = key.status(await self._ledger.load(IDEMPOTENCY, key.claim_id))
        if not isinstance(status, Completed):
            return None
        result = decode_result(status, RegisteredUser)
        return Outcome(result=result, replayed=True, position=None)

    async def _store(
        self, new: NewUser, key: IdempotencyKey | None, turn: PasswordTurn
    ) -> Outcome[RegisteredUser]:
        password_hash = await self._passwords.chosen(
            new.password, about=(new.username, new.email), turn=turn, seeded=new.seeded
        )
        command = RegisterUser(
            user_id=self._ids.new_id(),
            username=new.username,
            email=new.email,
            password_hash=password_hash,
        )
        return await once(
            self._ledger,
            self._clock,
            key,
            lambda transaction: self._work(transaction, new, command),
            result_type=RegisteredUser,
        )

    async def _check_same_password(self, user_id: UUID, password: str, turn: PasswordTurn) -> None:
        user = await self._ledger.load(USER, user_id)
        assert user is not None, "what a key has recorded was stored in the same commit"
        if not await self._passwords.match(password, user.first_password_hash, turn):
            raise key_reused()

    def _work(
        self, transaction: Transaction, new: NewUser, command: RegisterUser
    ) -> RegisteredUser:
        now = self._clock.now()
        _check_free(transaction, new)
        owner_id = command.user_id
        for kind, claim_id in _claims(new).items():
            transaction.add(CLAIM, claim(claim_id, kind=kind, owner_id=owner_id, now=now))
        transaction.add(USER, *decide_user(command, None, now))
        if new.role is not UserRole.USER:
            assign = AssignRole(role=new.role, assigned_by=None)
            user = transaction.load(USER, owner_id)
            transaction.add(USER, *decide_user(assign, user, now))
        self._open_account(transaction, owner_id, now)
        return RegisteredUser(
            user_id=owner_id,
            username=command.username,
            email=command.email,
            email_verified=False,
        )

    def _open_account(self, transaction: Transaction, user_id: UUID, now: datetime) -> None:
        stream_id = account_id(user_id)
        opening = account_commands.OpenAccount(account_id=stream_id, user_id=user_id)
        transaction.add(ACCOUNT, *decide_account(opening, None, now))
        if self._welcome_micro:
            grant = account_commands.GrantCredits(
                grant_id=self._ids.new_id(),
                amount_micro=self._welcome_micro,
                expires_at=None,
                reason="welcome",
                granted_by=None,
            )
            account = transaction.load(ACCOUNT, stream_id)
            transaction.add(ACCOUNT, *decide_account(grant, account, now))


def _claims(new: NewUser) -> dict[str, UUID]:
    return {"username": username_claim_id(new.username), "email": email_claim_id(new.email)}


def _check_free(transaction: Transaction, new: NewUser) -> None:
    claims = _claims(new)
    if transaction.load(CLAIM, claims["username"]) is not None:
        raise UsernameTaken("this username is taken; choose another")
    if transaction.load(CLAIM, claims["email"]) is not None:
        raise EmailTaken("this e-mail address has an account; sign in instead")
