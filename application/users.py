"""Registration, sign-in and sessions. Tokens are made and read by the interface; here a session
is an id and a generation."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from application.idempotency import Outcome, once
from application.ledger import Ledger, Transaction
from application.ports import Clock, IdSource, PasswordHasher
from application.streams import ACCOUNT, CLAIM, SESSION, USER
from domain.accounts import commands as account_commands
from domain.accounts.decider import decide as decide_account
from domain.claims.idempotency import IdempotencyKey
from domain.claims.uniqueness import claim
from domain.errors import (
    EmailTaken,
    RefreshTokenReused,
    SessionEnded,
    UserIsSuspended,
    UsernameTaken,
    WrongCredentials,
)
from domain.identifiers import account_id, email_claim_id, username_claim_id
from domain.sessions.commands import OpenSession, RevokeSession, RotateSession
from domain.sessions.decider import decide as decide_session
from domain.sessions.events import SessionRevoked
from domain.sessions.state import SessionState
from domain.text import check_email, check_password, check_username
from domain.users.commands import AssignRole, ChangePassword, RegisterUser
from domain.users.decider import decide as decide_user
from domain.users.events import UserRole
from domain.users.state import UserState


@dataclass(frozen=True, kw_only=True)
class RegisteredUser:
    user_id: UUID
    username: str
    email: str
    email_verified: bool


@dataclass(frozen=True, kw_only=True)
class SignedIn:
    """generation: of the refresh token to be issued."""

    user_id: UUID
    session_id: UUID
    generation: int
    session_expires_at: datetime
    position: int | None


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Who is asking, as of now."""

    user_id: UUID
    session_id: UUID
    username: str
    email: str
    email_verified: bool
    role: UserRole


@dataclass(frozen=True, kw_only=True)
class UserPolicy:
    welcome_micro: int
    session_lifetime: timedelta


class Users:
    def __init__(
        self,
        *,
        ledger: Ledger,
        clock: Clock,
        ids: IdSource,
        hasher: PasswordHasher,
        policy: UserPolicy,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._ids = ids
        self._hasher = hasher
        self._policy = policy

    async def register(
        self,
        *,
        username: str,
        email: str,
        password: str,
        key: IdempotencyKey | None = None,
        role: UserRole = UserRole.USER,
    ) -> Outcome[RegisteredUser]:
        """The user, both claims, the account and its welcome credits are one commit.

        Raises InvalidUsername, InvalidEmail, WeakPassword, UsernameTaken, EmailTaken.
        """
        check_username(username)
        check_email(email)
        password_hash = await self._hasher.hash(check_password(password))
        command = RegisterUser(
            user_id=self._ids.new_id(), username=username, email=email, password_hash=password_hash
        )
        return await once(
            self._ledger,
            self._clock,
            key,
            lambda transaction: self._register(transaction, command, role),
            result_type=RegisteredUser,
            streams=(username_claim_id(username), email_claim_id(email)),
        )

    def _register(
        self, transaction: Transaction, command: RegisterUser, role: UserRole
    ) -> RegisteredUser:
        now = self._clock.now()
        username_claim = username_claim_id(command.username)
        email_claim = email_claim_id(command.email)
        if transaction.load(CLAIM, username_claim) is not None:
            raise UsernameTaken("this username is taken; choose another")
        if transaction.load(CLAIM, email_claim) is not None:
            raise EmailTaken("this e-mail address has an account; sign in instead")
        owner_id = command.user_id
        transaction.add(CLAIM, claim(username_claim, kind="username", owner_id=owner_id, now=now))
        transaction.add(CLAIM, claim(email_claim, kind="email", owner_id=owner_id, now=now))
        transaction.add(USER, *decide_user(command, None, now))
        if role is not UserRole.USER:
            assign = AssignRole(role=role, assigned_by=None)
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
        if self._policy.welcome_micro:
            grant = account_commands.GrantCredits(
                grant_id=self._ids.new_id(),
                amount_micro=self._policy.welcome_micro,
                expires_at=None,
                reason="welcome",
                granted_by=None,
            )
            account = transaction.load(ACCOUNT, stream_id)
            transaction.add(ACCOUNT, *decide_account(grant, account, now))

    async def sign_in(self, *, login: str, password: str) -> SignedIn:
        """login: a username or an e-mail address.

        Raises WrongCredentials, in the same words and time whether or not the user exists, and
        UserIsSuspended.
        """
        user = await self.find(login)
        if user is None:
            await self._hasher.verify_nobody(password)
            raise WrongCredentials("the username or the password is wrong")
        if not await self._hasher.verify(password, user.password_hash):
            raise WrongCredentials("the username or the password is wrong")
        _check_not_suspended(user)
        command = OpenSession(
            session_id=self._ids.new_id(), user_id=user.id, expires_at=self._session_end()
        )

        def work(transaction: Transaction) -> None:
            found = transaction.load(USER, user.id)
            if found is None or found.password_hash != user.password_hash:
                raise WrongCredentials("the password was changed meanwhile; sign in again")
            transaction.add(SESSION, *decide_session(command, None, self._clock.now()))

        committed = await self._ledger.transact(work, streams=(user.id,))
        return SignedIn(
            user_id=user.id,
            session_id=command.session_id,
            generation=1,
            session_expires_at=command.expires_at,
            position=committed.position,
        )

    async def refresh(self, *, session_id: UUID, generation: int) -> SignedIn:
        """Raises SessionEnded, RefreshTokenReused (the session has ended with it),
        UserIsSuspended."""
        command = RotateSession(generation=generation, expires_at=self._session_end())

        def work(transaction: Transaction) -> SessionState:
            session = transaction.load(SESSION, session_id)
            events = decide_session(command, session, self._clock.now())
            transaction.add(SESSION, *events)
            assert session is not None
            if not isinstance(events[0], SessionRevoked):
                user = transaction.load(USER, session.user_id)
                assert user is not None
                _check_password_unchanged(user, session)
                _check_not_suspended(user)
            after = transaction.load(SESSION, session_id)
            assert after is not None
            return after

        committed = await self._ledger.transact(work, streams=(session_id,))
        session = committed.value
        if session.revoked_reason is not None:
            raise RefreshTokenReused(
                "this refresh token was used before, so the session was ended; sign in again"
            )
        return SignedIn(
            user_id=session.user_id,
            session_id=session.id,
            generation=session.generation,
            session_expires_at=session.expires_at,
            position=committed.position,
        )

    async def sign_out(self, *, session_id: UUID) -> int | None:
        """Ends the session; one that has ended already stays so. Returns the position."""

        def work(transaction: Transaction) -> None:
            session = transaction.load(SESSION, session_id)
            now = self._clock.now()
            if session is not None and session.is_live(now):
                revoke = RevokeSession(reason="logout")
                transaction.add(SESSION, *decide_session(revoke, session, now))

        return (await self._ledger.transact(work, streams=(session_id,))).position

    async def principal(self, *, user_id: UUID, session_id: UUID) -> Principal:
        """Who an access token speaks for, checked against the log and not against the token.

        Raises SessionEnded, UserIsSuspended.
        """

        def work(transaction: Transaction) -> UserState:
            session = transaction.load(SESSION, session_id)
            now = self._clock.now()
            if session is None or session.user_id != user_id or not session.is_live(now):
                raise SessionEnded("this session has ended; sign in again")
            user = transaction.load(USER, user_id)
            assert user is not None, "a session belongs to a registered user"
            _check_password_unchanged(user, session)
            return user

        user = await self._ledger.read(work)
        _check_not_suspended(user)
        return Principal(
            user_id=user.id,
            session_id=session_id,
            username=user.username,
            email=user.email,
            email_verified=user.email_verified,
            role=user.role,
        )

    async def find(self, login: str) -> UserState | None:
        """By username or e-mail address, straight from the log."""
        claim_id = email_claim_id(login) if "@" in login else username_claim_id(login)

        def work(transaction: Transaction) -> UserState | None:
            owner = transaction.load(CLAIM, claim_id)
            return None if owner is None else transaction.load(USER, owner.owner_id)

        return await self._ledger.read(work)

    async def has_password(self, user: UserState, password: str) -> bool:
        return await self._hasher.verify(password, user.password_hash)

    async def set_password(self, user: UserState, password: str) -> None:
        """The operator's command. Ends every session of the user. Raises WeakPassword."""
        password_hash = await self._hasher.hash(check_password(password))

        def work(transaction: Transaction) -> None:
            state = transaction.load(USER, user.id)
            change = ChangePassword(password_hash=password_hash)
            transaction.add(USER, *decide_user(change, state, self._clock.now()))

        await self._ledger.transact(work, streams=(user.id,))

    def _session_end(self) -> datetime:
        return self._clock.now() + self._policy.session_lifetime


def _check_password_unchanged(user: UserState, session: SessionState) -> None:
    changed_at = user.password_changed_at
    if changed_at is not None and session.opened_at <= changed_at:
        raise SessionEnded("the password was changed, which ended this session; sign in again")


def _check_not_suspended(user: UserState) -> None:
    if user.suspended:
        raise UserIsSuspended("this user is suspended; ask the administrator")
