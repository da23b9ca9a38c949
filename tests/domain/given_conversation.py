"""The words that the specifications of conversations are written in."""

from domain.conversations import commands as c
from tests.domain.given import CONVERSATION, PRICE, USER, an_id

STRANGER = an_id("stranger")


def prompt(text: str = "Hello", name: str = "1") -> c.SubmitPrompt:
    return c.SubmitPrompt(
        conversation_id=CONVERSATION,
        user_id=USER,
        prompt_id=an_id(f"prompt-{name}"),
        response_id=an_id(f"response-{name}"),
        hold_id=an_id(f"hold-{name}"),
        idempotency_claim_id=None,
        text=text,
        model="gemma3-270m",
        max_tokens=64,
        temperature=0.7,
        top_p=0.9,
        seed=7,
    )


def answer(text: str = "Hi there", name: str = "1") -> c.RecordResponse:
    return c.RecordResponse(
        user_id=USER,
        response_id=an_id(f"response-{name}"),
        text=text,
        model="gemma3-270m",
        manifest_hash="0" * 64,
        computed_on=None,
        finish_reason="stop",
        prompt_tokens=3,
        completion_tokens=5,
        turns_dropped=0,
        seed=7,
        price=PRICE,
        cost_micro=10_000_000,
        cached=False,
        latency_ms=120,
    )


def failure(name: str = "1", reason: str = "failed") -> c.RecordFailure:
    return c.RecordFailure(user_id=USER, response_id=an_id(f"response-{name}"), reason=reason)


RENAME = c.RenameConversation(user_id=USER, title="Another title")
DELETE = c.DeleteConversation(user_id=USER)
