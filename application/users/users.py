"""Registration, sign-in and sessions. Tokens are made and read by the interface; here a session
is an id and a generation."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from application.ledger.idempotency import Outcome
from application.ledger.ledger import Ledger, Transaction
from application.ledger.streams import CLAIM, SESSION, USER
from application.ports import OPERATOR, Clock, IdSource, PasswordTurn
from application.users.passwords import Passwords
from application.users.registration import NewUser, RegisteredUser, Registration
from domain.claims.idempotency import IdempotencyKey
from domain.errors import RefreshTokenReused, WrongCredentials
from domain.identifiers import email_claim_id, username_claim_id
from domain.sessions.commands import OpenSession, RevokeSession, RotateSession
from domain.sessions.decider import decide as decide_session
from domain.sessions.decider import usable
from domain.sessions.state import SessionState
from domain.users.commands import ChangePassword
from domain.users.decider import decide as decide_user
from domain.users.events import UserRole
from domain.users.state import UserState


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
    """refresh_grace: how long a refresh token that was used may come again from another tab."""

    welcome_micro: int
    session_lifetime: timedelta
    refresh_grace: timedelta = timedelta(0)


@dataclass(frozen=True, kw_only=True)
class LoginName:
    """Whom a username or an e-mail address stands for. account: the user's id, however the name
    is spelled; for a name that nobody has, the id that its claim would have."""

    account: UUID
    user: UserState | None


class Users:
    def __init__(
        self,
        *,
        ledger: Ledger,
        clock: Clock,
        ids: IdSource,
        passwords: Passwords,
        policy: UserPolicy,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._ids = ids
        self._passwords = passwords
        self._policy = policy
        self._registration = Registration(
            ledger=ledger,
            clock=clock,
            ids=ids,
            passwords=passwords,
            welcome_micro=policy.welcome_micro,
        )

    async def register(
        self,
        *,
        username: str,
        email: str,
        password: str,
        key: IdempotencyKey | None = None,
        role: UserRole = UserRole.USER,
        turn: PasswordTurn = OPERATOR,
        seeded: bool = False,
    ) -> Outcome[RegisteredUser]:
        """As `Registration.register`."""
        new = NewUser(username=username, email=email, password=password, role=role, seeded=seeded)
        return await self._registration.register(new, key, turn)

    async def sign_in(
        self, *, login: str | LoginName, password: str, turn: PasswordTurn = OPERATOR
    ) -> SignedIn:
        """login: a username or an e-mail address, or who it stands for.

        Raises WrongCredentials, in the same words and time whether or not the user exists,
        UserIsSuspended, and PasswordsBusy.
        """
        user = (await self.named(login) if isinstance(login, str) else login).user
        password_hash = None if user is None else user.password_hash
        if not await self._passwords.match(password, password_hash, turn):
            raise WrongCredentials("the username or the password is wrong")
        assert user is not None, "no password matches where there is no user"
        command = OpenSession(session_id=self._ids.new_id(), expires_at=self._session_end())

        def work(transaction: Transaction) -> None:
            found = transaction.load(USER, user.id)
            if found is None or found.password_hash != user.password_hash:
                raise WrongCredentials("the password was changed meanwhile; sign in again")
            transaction.add(SESSION, *decide_session(command, None, found, self._clock.now()))

        committed = await self._ledger.transact(work)
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
        command = RotateSession(
            generation=generation,
            expires_at=self._session_end(),
            grace=self._policy.refresh_grace,
        )

        def work(transaction: Transaction) -> SessionState:
            self._decide(transaction, session_id, command)
            session = transaction.load(SESSION, session_id)
            assert session is not None, "only a session that exists is refreshed"
            return session

        committed = await self._ledger.transact(work)
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
            self._decide(transaction, session_id, RevokeSession(reason="logout"))

        return (await self._ledger.transact(work)).position

    async def principal(self, *, user_id: UUID, session_id: UUID) -> Principal:
        """Who an access token speaks for, checked against the log and not against the token.

        Raises SessionEnded, UserIsSuspended.
        """

        def work(transaction: Transaction) -> UserState:
            session = transaction.load(SESSION, session_id)
            user = transaction.load(USER, user_id)
            return usable(session, user, self._clock.now())[1]

        user = await self._ledger.read(work)
        return Principal(
            user_id=user.id,
            session_id=session_id,
            username=user.username,
            email=user.email,
            email_verified=user.email_verified,
            role=user.role,
        )

    async def named(self, login: str) -> LoginName:
        """By username or e-mail address, from the log and not from a read model."""
        claim_id = email_claim_id(login) if "@" in login else username_claim_id(login)

        def work(transaction: Transaction) -> LoginName:
            owner = transaction.load(CLAIM, claim_id)
            if owner is None:
                return LoginName(account=claim_id, user=None)
            return LoginName(account=owner.owner_id, user=transaction.load(USER, owner.owner_id))

        return await self._ledger.read(work)

    async def find(self, login: str) -> UserState | None:
        return (await self.named(login)).user

    async def has_password(self, user: UserState, password: str) -> bool:
        return await self._passwords.match(password, user.password_hash, OPERATOR)

    async def set_password(self, user: UserState, password: str) -> None:
        """The operator's command. Ends every session of the user. Raises WeakPassword."""
        password_hash = await self._passwords.chosen(
            password, about=(user.username, user.email), turn=OPERATOR
        )

        def work(transaction: Transaction) -> None:
            state = transaction.load(USER, user.id)
            change = ChangePassword(password_hash=password_hash)
            transaction.add(USER, *decide_user(change, state, self._clock.now()))

        await self._ledger.transact(work)

    def _decide(
        self, transaction: Transaction, session_id: UUID, command: RotateSession | RevokeSession
    ) -> None:
        session = transaction.load(SESSION, session_id)
        user = None if session is None else transaction.load(USER, session.user_id)
        transaction.add(SESSION, *decide_session(command, session, user, self._clock.now()))

    def _session_end(self) -> datetime:
        return self._clock.now() + self._policy.session_lifetime
