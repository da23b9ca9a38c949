"""What each query of the read models selects."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import msgspec

from application.read_models import (
    BalanceView,
    ConversationView,
    ExpiredGrant,
    ExpiredHold,
    MessageView,
    Page,
    ReadModels,
    ReceiptView,
    TransactionType,
    TransactionView,
)
from domain.text import compose
from infrastructure.read_models.query_pool import QueryPool

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

V = TypeVar("V", bound="DataclassInstance")

# Unicode spells one character in several ways, and content is stored as it was written. Most of it
# is composed already; asking whether it is costs a fifth of composing it.
_CONTAINS = (
    "CASE WHEN content IS NFC NORMALIZED THEN content ELSE normalize(content, NFC) END ILIKE %s"
)


class PostgresReadModels(QueryPool, ReadModels):
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
            # An answer has a row from the moment of its prompt; it is not shown before it is there.
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

    async def _newest(
        self, select: str, where: Sequence[tuple[str, Any]], order: str, limit: int
    ) -> list[tuple[Any, ...]]:
        """One row more than the page holds: it says whether there is another page."""
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


def escape_like(text: str) -> str:
    """A LIKE pattern that matches this text and nothing else."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _select_text(view: type[Any], table: str) -> str:
    return f"SELECT {', '.join(f.name for f in fields(view))} FROM read.{table}"  # noqa: S608


def _view(view: type[V], row: Sequence[Any]) -> V:
    """The views' fields are the tables' columns; here texts become enums and JSON a price."""
    names = (f.name for f in fields(view))
    return msgspec.convert(dict(zip(names, row, strict=True)), view)


_SELECT: dict[type[Any], str] = {
    view: _select_text(view, table)
    for view, table in {
        BalanceView: "balances",
        TransactionView: "transactions",
        ConversationView: "conversations",
        MessageView: "messages",
        ReceiptView: "receipts",
        ExpiredHold: "open_holds",
        ExpiredGrant: "expiring_grants",
    }.items()
}
_SELECT_CONVERSATIONS = _SELECT[ConversationView].replace("SELECT ", "SELECT updated_position, ", 1)
# The time comes as text: a damaged or forged row may have one that Python cannot represent.
_SELECT_HOLDS, _SELECT_GRANTS = (
    f"{_SELECT[view].replace('expires_at', 'expires_at::text')} AS r"
    for view in (ExpiredHold, ExpiredGrant)
)
