"""Between the application's values and the wire models of chat."""

from application.chat.answer import Answer, Started
from application.chat.commands import Quote
from application.chat.inference import ModelCard
from application.chat.stages import Stages
from application.read_models import ConversationView, MessageView
from domain.credits import credits_decimal
from domain.pricing.price import Price, PriceKind
from interfaces.http.chat.protocol import (
    BalanceWire,
    ConversationWire,
    HistoryItem,
    MessageResponse,
    ModelWire,
    PriceWire,
    QuoteResponse,
    StartedWire,
    UsageWire,
)


def message_response(answer: Answer) -> MessageResponse:
    return MessageResponse(
        message_id=answer.message_id,
        conversation_id=answer.conversation_id,
        model=answer.model,
        response=answer.response,
        finish_reason=answer.finish_reason,
        usage=UsageWire(
            prompt_tokens=answer.prompt_tokens, completion_tokens=answer.completion_tokens
        ),
        turns_dropped=answer.turns_dropped,
        cost=credits_decimal(answer.cost_micro),
        balance=BalanceWire(
            available=credits_decimal(answer.available_micro),
            held=credits_decimal(answer.held_micro),
        ),
        cached=answer.cached,
        latency_ms=answer.latency_ms,
    )


def server_timing(stages: Stages) -> str:
    """The header Server-Timing (W3C), which browsers show beside a request."""
    return ", ".join(f"{stage};dur={spent:.2f}" for stage, spent in stages.spent_ms.items())


def started_wire(started: Started) -> StartedWire:
    return StartedWire(
        message_id=started.message_id,
        conversation_id=started.conversation_id,
        model=started.model,
        held=credits_decimal(started.held_micro),
        max_tokens=started.max_tokens,
        turns_dropped=started.turns_dropped,
    )


def price_wire(price: Price) -> PriceWire:
    if price.kind is PriceKind.PER_MESSAGE:
        return PriceWire(kind=price.kind, credits=credits_decimal(price.message_micro))
    return PriceWire(
        kind=price.kind,
        prompt_credits_per_1000=credits_decimal(price.prompt_micro_per_1000),
        completion_credits_per_1000=credits_decimal(price.completion_micro_per_1000),
    )


def model_wire(card: ModelCard, price: Price, *, default: bool) -> ModelWire:
    return ModelWire(
        name=card.name,
        title=card.title,
        state=card.state,
        detail=card.detail,
        context_tokens=card.context_tokens,
        price=price_wire(price),
        licence=card.licence,
        licence_url=card.licence_url,
        manifest_hash=card.manifest_hash,
        runs_on=card.runs_on,
        computed_on=card.computed_on,
        default=default,
    )


def quote_response(quote: Quote) -> QuoteResponse:
    return QuoteResponse(
        model=quote.model,
        price=price_wire(quote.price),
        prompt_tokens=quote.prompt_tokens,
        turns_dropped=quote.turns_dropped,
        max_tokens=quote.max_tokens,
        cost_max=credits_decimal(quote.cost_micro_max),
        available=credits_decimal(quote.available_micro),
        affordable=quote.cost_micro_max <= quote.available_micro,
    )


def conversation_wire(view: ConversationView) -> ConversationWire:
    return ConversationWire(
        conversation_id=view.conversation_id,
        title=view.title,
        model=view.model,
        message_count=view.message_count,
        created_at=view.created_at,
        updated_at=view.updated_at,
    )


def history_item(view: MessageView) -> HistoryItem:
    return HistoryItem(
        message_id=view.message_id,
        conversation_id=view.conversation_id,
        reply_to=view.reply_to,
        role=view.role,
        content=view.content,
        model=view.model,
        status=view.status,
        cost=None if view.cost_micro is None else credits_decimal(view.cost_micro),
        prompt_tokens=view.prompt_tokens,
        completion_tokens=view.completion_tokens,
        finish_reason=view.finish_reason,
        latency_ms=view.latency_ms,
        created_at=view.created_at,
    )
