"""Lists: transactions, conversations, history."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from application.read_models import MessageRole, MessageStatus, Page, TransactionType
from infrastructure.read_models.queries import PostgresReadModels
from tests.infrastructure.read_models.told import Told

T = TypeVar("T")


async def all_pages(page_of: Callable[[int | None], Awaitable[Page[T]]]) -> list[T]:
    items: list[T] = []
    before: int | None = None
    for _ in range(1000):
        page = await page_of(before)
        items += page.items
        if page.next is None:
            return items
        assert page.items, "only the last page may be empty"
        before = page.next
    raise AssertionError("the pages do not end")


@pytest.mark.parametrize("limit", [1, 7, 1000])
async def test_pages_of_transactions_hold_each_once_newest_first(
    limit: int, told: Told, read_models: PostgresReadModels
) -> None:
    for person in told.people:
        views = await all_pages(
            lambda before, user=person.user_id: read_models.transactions(  # type: ignore[misc]
                user, limit=limit, before=before
            )
        )
        expected = sorted(told.rows("transactions", person), key=lambda row: -row["position"])
        assert [(view.position, view.amount_micro, view.description) for view in views] == [
            (row["position"], row["amount_micro"], row["description"]) for row in expected
        ]


async def test_transactions_add_up_to_the_balance(
    told: Told, read_models: PostgresReadModels
) -> None:
    for person in told.people:
        page = await read_models.transactions(person.user_id, limit=1000)
        balance = await read_models.balance(person.user_id)
        assert balance is not None
        assert sum(view.amount_micro for view in page.items) == balance.total_micro
        running = 0
        for view in reversed(page.items):
            running += view.amount_micro
            assert view.balance_after_micro == running


async def test_transactions_are_filtered_by_type_and_time(
    told: Told, read_models: PostgresReadModels
) -> None:
    person = told.people[0]
    rows = told.rows("transactions", person)
    since, until = rows[10]["created_at"], rows[-5]["created_at"]
    for kind in TransactionType:
        page = await read_models.transactions(
            person.user_id, limit=1000, type=kind, since=since, until=until
        )
        assert {view.position for view in page.items} == {
            row["position"]
            for row in rows
            if row["type"] == kind and since <= row["created_at"] < until
        }


async def test_conversations_come_by_their_latest_message_and_without_the_deleted(
    told: Told, read_models: PostgresReadModels
) -> None:
    for person in told.people:
        views = await all_pages(
            lambda before, user=person.user_id: read_models.conversations(  # type: ignore[misc]
                user, limit=3, before=before
            )
        )
        expected = sorted(
            told.rows("conversations", person),
            key=lambda row: -row["updated_position"],
        )
        assert [(view.conversation_id, view.title, view.message_count) for view in views] == [
            (row["conversation_id"], row["title"], row["message_count"]) for row in expected
        ]
        deleted = {
            conversation_id
            for conversation_id, state in person.conversations.items()
            if state.deleted
        }
        assert not deleted & {view.conversation_id for view in views}


async def test_history_holds_prompts_and_answers_but_no_answer_that_is_under_way(
    told: Told, read_models: PostgresReadModels
) -> None:
    for person in told.people:
        views = await all_pages(
            lambda before, user=person.user_id: read_models.history(  # type: ignore[misc]
                user, limit=4, before=before
            )
        )
        assert [view.position for view in views] == sorted(
            (view.position for view in views), reverse=True
        )
        rows = told.rows("messages", person)
        shown = [row for row in rows if row["role"] == "user" or row["status"] == "answered"]
        assert {view.message_id for view in views} == {row["message_id"] for row in shown}
        assert len(views) == len(shown) < len(rows) + 1
        for view in views:
            if view.role is MessageRole.ASSISTANT:
                assert view.status is MessageStatus.ANSWERED
                assert view.cost_micro is not None
                assert view.reply_to is not None
            else:
                assert view.cost_micro is None


async def test_history_is_filtered_by_conversation_model_time_and_text(
    told: Told, read_models: PostgresReadModels
) -> None:
    person = told.people[0]
    whole = (await read_models.history(person.user_id, limit=1000)).items
    some = whole[len(whole) // 2]

    async def found(**filters: Any) -> set[int]:
        page = await read_models.history(person.user_id, limit=1000, **filters)
        return {view.position for view in page.items}

    assert await found(conversation_id=some.conversation_id) == {
        view.position for view in whole if view.conversation_id == some.conversation_id
    }
    assert await found(model="free") == {view.position for view in whole if view.model == "free"}
    assert await found(since=some.created_at) == {
        view.position for view in whole if view.created_at >= some.created_at
    }
    assert await found(until=some.created_at) == {
        view.position for view in whole if view.created_at < some.created_at
    }
    for text in ("WHY", "grüße", "世界", "%", "_", "\\", "a_b", "50% OFF_"):
        expected = {view.position for view in whole if text.lower() in view.content.lower()}
        assert await found(q=text) == expected, text
        assert expected or text not in ("WHY", "_"), "the history holds what is looked for"
