"""Queries over the read models, on a pool of connections of their own."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from application.read_models import (
    BalanceView,
    ConversationView,
    ExpiredGrant,
    ExpiredHold,
    MessageView,
    Page,
    ReadModels,
    ReadModelsUnavailable,
    ReceiptView,
    TransactionType,
    TransactionView,
    TrialBalanceLine,
    UserView,
)
from domain.text import compose
from infrastructure.read_models.position_board import PositionBoard
from projections.registry import PROJECTIONS

T = TypeVar("T")

# How often the database is asked for its positions while somebody waits for one: seldom where
# this process's own projector would say it first.
_POLL_S = 0.01
_POLL_LEADING_S = 0.25
_PING_TIMEOUT_S = 2.0
# One character has several spellings in Unicode; the text is kept as it was written. Most texts
# are composed, and asking for that costs a fifth of composing them.
_CONTAINS = (
    "CASE WHEN content IS NFC NORMALIZED THEN content ELSE normalize(content, NFC) END ILIKE %s"
)


@dataclass(frozen=True, kw_only=True)
class ReadPoolLimits:
    """connection_timeout_s: how long a query waits for a free connection, or for a new one."""

    connections_max: int = 8
    connection_timeout_s: float = 5


class PostgresReadModels(ReadModels):
    """board: of the projector in this process, if there is one."""

    def __init__(
        self, service_url: str, limits: ReadPoolLimits, board: PositionBoard | None = None
    ) -> None:
        self._board = board or PositionBoard()
        self._pool: AsyncConnectionPool[AsyncConnection[Any]] = AsyncConnectionPool(
            service_url,
            min_size=1,
            max_size=limits.connections_max,
            timeout=limits.connection_timeout_s,
            kwargs={
                "autocommit": True,
                "prepare_threshold": 0,
                "application_name": "chatledger queries",
            },
            configure=_in_utc,
            name="read-models",
            open=False,
        )

    async def start(self) -> None:
        """Returns at once; connections are made in the background, for as long as it takes."""
        await self._pool.open(wait=False)

    async def stop(self) -> None:
        await self._pool.close()

    async def balance(self, user_id: UUID) -> BalanceView | None:
        rows = await self.rows(_SELECT[BalanceView] + " WHERE user_id = %s", (user_id,))
        return _view(BalanceView, rows[0]) if rows else None

    async def transactions(
        self,
        user_id: UUID,
        *,
        limit: int,
        before: int | None = None,
        position_max: int | None = None,
        type: TransactionType | None = None,  # noqa: A002 - the parameter's name in the API
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Page[TransactionView]:
        where: list[tuple[str, Any]] = [
            ("user_id = %s", user_id),
            ("position < %s", before),
            ("position <= %s", position_max),
            ("type = %s", None if type is None else type.value),
            ("created_at >= %s", since),
            ("created_at < %s", until),
        ]
        rows = await self._newest(_SELECT[TransactionView], where, "position", limit)
        items = tuple(_view(TransactionView, row) for row in rows[:limit])
        return Page(items=items, next=items[-1].position if len(rows) > limit else None)

    async def conversations(
        self, user_id: UUID, *, limit: int, before: int | None = None
    ) -> Page[ConversationView]:
        where: list[tuple[str, Any]] = [("user_id = %s", user_id)]
        where.append(("updated_position < %s", before))
        rows = await self._newest(_SELECT_CONVERSATIONS, where, "updated_position", limit)
        items = tuple(_view(ConversationView, row[1:]) for row in rows[:limit])
        return Page(items=items, next=rows[limit - 1][0] if len(rows) > limit else None)

    async def history(
        self,
        user_id: UUID,
        *,
        limit: int,
        before: int | None = None,
        conversation_id: UUID | None = None,
        model: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        q: str | None = None,
    ) -> Page[MessageView]:
        where: list[tuple[str, Any]] = [
            ("user_id = %s", user_id),
            # The row of an answer that is not there yet.
            ("NOT (role = %s AND status = 'pending')", "assistant"),
            ("position < %s", before),
            ("conversation_id = %s", conversation_id),
            ("model = %s", model),
            ("created_at >= %s", since),
            ("created_at < %s", until),
            (_CONTAINS, None if q is None else f"%{escape_like(compose(q))}%"),
        ]
        rows = await self._newest(_SELECT[MessageView], where, "position", limit)
        items = tuple(_view(MessageView, row) for row in rows[:limit])
        return Page(items=items, next=items[-1].position if len(rows) > limit else None)

    async def receipt(self, user_id: UUID, message_id: UUID) -> ReceiptView | None:
        rows = await self.rows(
            _SELECT[ReceiptView] + " WHERE user_id = %s AND message_id = %s", (user_id, message_id)
        )
        return _view(ReceiptView, rows[0]) if rows else None

    async def user(self, user_id: UUID) -> UserView | None:
        rows = await self.rows(_SELECT[UserView] + " WHERE user_id = %s", (user_id,))
        return _view(UserView, rows[0]) if rows else None

    async def expired_holds(
        self, now: datetime, limit: int, after: ExpiredHold | None = None
    ) -> tuple[ExpiredHold, ...]:
        place = None if after is None else (after.expires_at, after.hold_id)
        select = f"{_SELECT_HOLDS} WHERE expires_at <= %s"
        rows = await self._longest_expired(select, "hold_id", now, limit, place)
        return tuple(_view(ExpiredHold, row) for row in rows)

    async def expired_grants(
        self, now: datetime, limit: int, after: ExpiredGrant | None = None
    ) -> tuple[ExpiredGrant, ...]:
        place = None if after is None else (after.expires_at, after.grant_id)
        select = f"{_SELECT_GRANTS} WHERE expires_at <= %s AND unspent_micro > 0"
        rows = await self._longest_expired(select, "grant_id", now, limit, place)
        return tuple(_view(ExpiredGrant, row) for row in rows)

    async def trial_balance(self) -> tuple[TrialBalanceLine, ...]:
        rows = await self.rows(
            "SELECT account,"
            " coalesce(sum(amount_micro) FILTER (WHERE direction = 'debit'), 0)::text,"
            " coalesce(sum(amount_micro) FILTER (WHERE direction = 'credit'), 0)::text"
            " FROM read.journal GROUP BY account ORDER BY account",
            (),
        )
        # Sums leave bigint in time, and numeric would come as a Decimal: text is exact for int().
        return tuple(
            TrialBalanceLine(account=account, debit_micro=int(debit), credit_micro=int(credit))
            for account, debit, credit in rows
        )

    async def positions(self) -> dict[str, int]:
        stored = dict(await self.rows("SELECT projection, position FROM read.positions", ()))
        return {projection.name: stored.get(projection.name, 0) for projection in PROJECTIONS}

    async def wait_for(self, position: int, timeout_s: float) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        wait_s = _POLL_LEADING_S if self._board.leading else 0.0
        while True:
            left_s = deadline - loop.time()
            if await self._board.wait_for(position, min(wait_s, max(0.0, left_s))):
                return True
            try:
                async with asyncio.timeout(max(_POLL_S, left_s)):
                    if min((await self.positions()).values()) >= position:
                        return True
            except (ReadModelsUnavailable, TimeoutError):
                pass  # The projector may still say it, or the database come back in time.
            if loop.time() >= deadline:
                return False
            wait_s = _POLL_LEADING_S if self._board.leading else _POLL_S

    async def ping(self) -> bool:
        """Answers soon, because whoever asks wants to know about now."""
        try:
            async with asyncio.timeout(_PING_TIMEOUT_S):
                return await self.rows("SELECT 1", ()) == [(1,)]
        except (ReadModelsUnavailable, TimeoutError):
            return False

    async def _newest(
        self, select: str, where: Sequence[tuple[str, Any]], order: str, limit: int
    ) -> list[tuple[Any, ...]]:
        """One row more than the page holds says that there is another page."""
        assert limit > 0
        used = [(text, value) for text, value in where if value is not None]
        conditions = " AND ".join(text for text, _ in used)
        return await self.rows(
            f"{select} WHERE {conditions} ORDER BY {order} DESC LIMIT %s",
            (*(value for _, value in used), limit + 1),
        )

    async def _longest_expired(
        self, select: str, key: str, now: datetime, limit: int, after: tuple[str, UUID] | None
    ) -> list[tuple[Any, ...]]:
        if after is not None:
            select += f" AND (r.expires_at, {key}) > (%s::timestamptz, %s)"
        return await self.rows(
            f"{select} ORDER BY r.expires_at, {key} LIMIT %s", (now, *(after or ()), limit)
        )

    async def rows(self, query: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """For queries of other modules, too. Raises ReadModelsUnavailable."""
        try:
            try:
                return await self._select(query, parameters)
            except PoolTimeout:
                raise  # The time for waiting is over.
            except psycopg.OperationalError:
                # Connections from before a restart of the database: replaced, and asked again.
                await self._pool.check()
                return await self._select(query, parameters)
        except (PoolTimeout, psycopg.OperationalError) as error:
            raise ReadModelsUnavailable(
                "the database of the read models cannot be reached"
            ) from error

    async def _select(self, query: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        # The texts are this module's own; values only ever travel beside them.
        async with self._pool.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(query.encode(), parameters, prepare=True)
            return await cursor.fetchall()


async def _in_utc(connection: AsyncConnection[Any]) -> None:
    """Times come back in UTC, whatever the server's own zone is."""
    await connection.execute("SET TimeZone = 'UTC'")


def escape_like(text: str) -> str:
    """The text as a LIKE pattern that stands for itself alone."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _select_text(view: type[Any], table: str) -> str:
    return f"SELECT {', '.join(f.name for f in fields(view))} FROM read.{table}"  # noqa: S608


def _view(view: type[T], row: Sequence[Any]) -> T:
    """The views' fields are the tables' columns; enums and the price take their types here."""
    names = (f.name for f in fields(view))  # type: ignore[arg-type]
    return msgspec.convert(dict(zip(names, row, strict=True)), view)


_SELECT: dict[type[Any], str] = {
    view: _select_text(view, table)
    for view, table in {
        BalanceView: "balances",
        TransactionView: "transactions",
        ConversationView: "conversations",
        MessageView: "messages",
        ReceiptView: "receipts",
        UserView: "users",
        ExpiredHold: "open_holds",
        ExpiredGrant: "expiring_grants",
    }.items()
}
_SELECT_CONVERSATIONS = _SELECT[ConversationView].replace("SELECT ", "SELECT updated_position, ", 1)
# The time as text: a row that is damaged, or forged, may have one that Python cannot hold.
_SELECT_HOLDS, _SELECT_GRANTS = (
    f"{_SELECT[view].replace('expires_at', 'expires_at::text')} AS r"
    for view in (ExpiredHold, ExpiredGrant)
)
