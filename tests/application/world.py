"""The application on a real PostgreSQL, with a clock and an engine that tests move by hand."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from application.accounts import Accounts
from application.administration.accounts import AccountAdministration
from application.administration.order import Order
from application.administration.users import UserAdministration
from application.chat.answer import Answer
from application.chat.commands import ChatLimits, SendMessage
from application.chat.inference import InferenceEngine
from application.chat.price_list import PACKAGES, PriceList
from application.chat.process import ChatProcess
from application.chat.quotas import QuotaLimits, Quotas
from application.chat.run import ChatRun
from application.chat.sweeper import Sweeper, SweeperLimits
from application.conversations import Conversations
from application.ledger.idempotency import idempotency_key
from application.ledger.ledger import Ledger, LedgerLimits
from application.ledger.streams import ACCOUNT, CONVERSATION
from application.users.passwords import Passwords
from application.users.users import UserPolicy, Users
from domain.accounts.events import Balance
from domain.claims.idempotency import IdempotencyKey
from domain.conversations.state import ConversationState
from domain.credits import MICRO_PER_CREDIT
from domain.events import Event
from domain.identifiers import account_id
from domain.pricing.price import Price, per_message
from domain.users.events import UserRole
from infrastructure.event_store.recorder import open_application
from infrastructure.identity.passwords import BcryptHasher, ZxcvbnStrength
from infrastructure.log.reader import ReadBounds, read_log
from infrastructure.process.clock_ids import TimeOrderedIds
from infrastructure.read_models.queries import PostgresReadModels
from infrastructure.read_models.query_pool import ReadPoolLimits
from infrastructure.read_models.writer import ProjectionWriter
from projections.registry import PROJECTIONS
from tests.support.books import check_books, stored_events
from tests.support.clock import SteppedClock
from tests.support.keys import EVENT_MACS, LEDGER_KEYS
from tests.support.scripted_engine import MODEL, ScriptedEngine
from tests.support.servers import DatabaseUrls

FREE = per_message(0)
PASSWORD = "correct horse"
REFRESH_GRACE = timedelta(seconds=10)
WELCOME_MICRO = 10 * MICRO_PER_CREDIT
PRICE = per_message(2 * MICRO_PER_CREDIT)
LIMITS = ChatLimits(
    response_tokens_max=100,
    generation_timeout=timedelta(seconds=20),
    hold_ttl=timedelta(seconds=60),
    settle_retry=timedelta(seconds=8),
)
QUOTA_LIMITS = QuotaLimits(
    free_writes_per_hour=1_000, free_writes_per_day=10_000, unpaid_tokens_per_hour=100_000
)

_names = count(1)


@dataclass
class World:
    """One process of the service. `beside` is another one on the same database."""

    urls: DatabaseUrls
    clock: SteppedClock = field(default_factory=SteppedClock)
    engine: InferenceEngine = field(default_factory=ScriptedEngine)
    price: Price = PRICE
    limits: ChatLimits = LIMITS
    quota_limits: QuotaLimits = QUOTA_LIMITS
    welcome_micro: int = WELCOME_MICRO
    holds_open: int = 0

    def __post_init__(self) -> None:
        self.ids = TimeOrderedIds()
        self.application = open_application(
            self.urls.service, LEDGER_KEYS, threads=8, connect_timeout_s=2, cached_streams_max=100
        )
        self.ledger = Ledger(self.application, self.clock, LedgerLimits())
        self.hasher = BcryptHasher(4)
        self.strength = ZxcvbnStrength()
        self.users = Users(
            ledger=self.ledger,
            clock=self.clock,
            ids=self.ids,
            passwords=Passwords(self.hasher, self.strength),
            policy=UserPolicy(
                welcome_micro=self.welcome_micro,
                session_lifetime=timedelta(days=1),
                refresh_grace=REFRESH_GRACE,
            ),
        )
        self.accounts = Accounts(ledger=self.ledger, clock=self.clock, ids=self.ids)
        self.account_administration = AccountAdministration(
            ledger=self.ledger, clock=self.clock, ids=self.ids
        )
        self.user_administration = UserAdministration(ledger=self.ledger, clock=self.clock)
        self.quotas = Quotas(self.quota_limits)
        self.conversations = Conversations(
            ledger=self.ledger, clock=self.clock, free_writes=self.quotas.free_writes
        )
        self.chat = ChatProcess(
            ledger=self.ledger,
            engine=self.engine,
            price_list=PriceList(
                default_model=MODEL,
                prices={MODEL: self.price},
                cached_price=FREE,
                packages=PACKAGES,
            ),
            clock=self.clock,
            ids=self.ids,
            limits=self.limits,
            quotas=self.quotas,
        )

    @property
    def scripted(self) -> ScriptedEngine:
        assert isinstance(self.engine, ScriptedEngine)
        return self.engine

    def beside(self, urls: DatabaseUrls | None = None, **changes: Any) -> "World":
        """Close it yourself; the books are checked by the first world."""
        shared: dict[str, Any] = {"clock": self.clock, "engine": self.engine, "price": self.price}
        return World(urls or self.urls, **(shared | changes))

    async def close(self) -> None:
        await self.chat.close()
        self.hasher.close()
        self.strength.close()
        self.ledger.close()

    def events(self) -> list[Event]:
        return stored_events(self.urls.service)

    def check_books(self) -> None:
        check_books(self.events(), holds_open=self.holds_open)

    async def a_user(self, role: UserRole = UserRole.USER) -> UUID:
        name = f"user{next(_names)}"
        outcome = await self.users.register(
            username=name, email=f"{name}@example.com", password=PASSWORD, role=role
        )
        return outcome.result.user_id

    async def an_admin(self) -> UUID:
        return await self.a_user(UserRole.ADMIN)

    async def suspend(self, user_id: UUID) -> None:
        order = an_order(await self.an_admin(), "suspend")
        await self.user_administration.suspend(order, user_id=user_id)

    async def balance(self, user_id: UUID) -> Balance:
        account = await self.ledger.load(ACCOUNT, account_id(user_id))
        assert account is not None
        return account.balance

    async def conversation(self, conversation_id: UUID) -> ConversationState:
        state = await self.ledger.load(CONVERSATION, conversation_id)
        assert state is not None
        return state

    async def send(self, user_id: UUID, text: str = "Hello there", **changes: Any) -> ChatRun:
        """A message whose answer is under way."""
        run = await self.chat.send(message(user_id, text, **changes))
        assert isinstance(run, ChatRun)
        return run

    async def ask(self, user_id: UUID, text: str = "Hello there", **changes: Any) -> Answer:
        """A message with its answer, fresh or recorded."""
        run = await self.chat.send(message(user_id, text, **changes))
        return run if isinstance(run, Answer) else await run.answer()

    async def sweep(self) -> int:
        """One round of the sweeper, on read models that hold everything that is stored."""
        await self.project()
        return await self.sweep_as_projected()

    async def sweep_as_projected(self, rounds: int = 1, **limits: int) -> int:
        """The same on read models that may be behind; returns what all rounds released."""
        read_models = PostgresReadModels(self.urls.service, ReadPoolLimits(connections_max=1))
        await read_models.start()
        try:
            sweeper = Sweeper(
                ledger=self.ledger,
                read_models=read_models,
                clock=self.clock,
                limits=SweeperLimits(interval_s=1, **limits),
            )
            return sum([await sweeper.sweep() for _ in range(rounds)])
        finally:
            await read_models.stop()

    async def project(self) -> None:
        async with await AsyncConnection.connect(self.urls.service, autocommit=True) as connection:
            writer = await ProjectionWriter.open(connection, PROJECTIONS, EVENT_MACS)
            bounds = ReadBounds(events_max=1000)
            while events := await read_log(connection, after=writer.position, bounds=bounds):
                await writer.write(events)


def message(user_id: UUID, text: str = "Hello there", **changes: Any) -> SendMessage:
    """key: a text, hashed with what is asked as the API does it."""
    fields: dict[str, Any] = {
        "text": text,
        "model": None,
        "conversation_id": None,
        "max_tokens": None,
        "temperature": 0.0,
        "top_p": 1.0,
        "seed": None,
    } | changes
    key = fields.pop("key", None)
    claim: IdempotencyKey | None = idempotency_key(user_id, key, "chat.message", **fields)
    return SendMessage(user_id=user_id, key=claim, **fields)


def an_order(administrator_id: UUID, key: str, *, reason: str = "a slip") -> Order:
    return Order(administrator_id=administrator_id, reason=reason, key=key)


async def outcome_of(awaitable: Any) -> Any:
    """What comes back, or the error that comes instead."""
    try:
        return await awaitable
    except Exception as error:  # noqa: BLE001 - whatever came is looked at by the test
        return error


async def drain(run: ChatRun) -> str:
    return "".join([piece async for piece in run.deltas()])


async def settled(run: ChatRun) -> Answer | Exception:
    """The answer, or the error; within a bounded time."""
    async with asyncio.timeout(15):
        result = await outcome_of(run.answer())
    assert isinstance(result, Answer | Exception)
    return result


def welcome_balance(available: int, held: int = 0, *, spent_micro: int = 0) -> Balance:
    """In credits, of welcome credits alone."""
    return Balance(
        paid_micro=0,
        promotional_micro=available * MICRO_PER_CREDIT - spent_micro,
        held_micro=held * MICRO_PER_CREDIT,
    )
