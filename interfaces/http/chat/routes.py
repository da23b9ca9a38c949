"""POST /chat/message, /chat/quote; GET /chat/models, /status, /history, /conversations; PATCH
and DELETE /chat/conversations/{id}."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from application.books.periods import check_period
from application.chat.answer import Answer
from application.chat.commands import SendMessage
from application.chat.inference import ModelState
from application.ledger.idempotency import idempotency_key
from application.users.users import Principal
from domain.claims.idempotency import IdempotencyKey
from interfaces.http.chat import convert, stream
from interfaces.http.chat.protocol import (
    ChatStatusResponse,
    ConversationWire,
    HistoryItem,
    MessageRequest,
    MessageResponse,
    ModelsResponse,
    QuoteRequest,
    QuoteResponse,
    RenameRequest,
)
from interfaces.http.context import FreshReads, IdempotencyDep, PrincipalDep, ServicesDep
from interfaces.http.fields import Instant, Line
from interfaces.http.paging import WirePage, decode_cursor, encode_cursor
from interfaces.http.problems import request_id_of
from interfaces.http.responses import event_stream, json_response, no_content
from interfaces.http.routing import ExactRoute

router = APIRouter(prefix="/chat", tags=["chat"], route_class=ExactRoute)

LimitQuery = Annotated[int, Query(ge=1, le=200)]
CursorQuery = Annotated[str | None, Query(max_length=64)]


@router.post(
    "/message",
    response_model=MessageResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def send_message(
    body: MessageRequest,
    services: ServicesDep,
    who: PrincipalDep,
    header: IdempotencyDep,
    request: Request,
) -> Response:
    """Sends a message and pays for its answer. With `stream`, answers with server-sent events:
    `started`, `delta`…, then `done` (this response's document) or `error` (a problem). A replay
    under an Idempotency-Key is one `delta` and `done`. Text that a stream has delivered is paid
    for, whatever ends it."""
    fields = body.model_dump(exclude={"stream"})
    key = idempotency_key(who.user_id, header, "chat.message", **fields)
    outcome = await services.chat.send(_command(body, who, key))
    if isinstance(outcome, Answer):
        if body.stream:
            return event_stream(stream.recorded_events(outcome), None, replayed=True)
        return json_response(convert.message_response(outcome), replayed=True)
    if body.stream:
        events = stream.events(outcome, request_id_of(request))
        return event_stream(events, outcome.position)
    settled = await stream.whole_answer(outcome, request)
    response = json_response(convert.message_response(settled), position=settled.position)
    response.headers["Server-Timing"] = convert.server_timing(outcome.stages)
    return response


@router.post("/quote", response_model=QuoteResponse)
async def quote(body: QuoteRequest, services: ServicesDep, who: PrincipalDep) -> Response:
    """What a message would cost at most. Nothing is held."""
    message = MessageRequest(**body.model_dump())
    return json_response(
        convert.quote_response(await services.chat.quote(_command(message, who, None)))
    )


@router.get("/models", response_model=ModelsResponse)
async def models(services: ServicesDep) -> Response:
    """The catalogue with prices; open to everybody."""
    prices = services.price_list
    items = [
        convert.model_wire(card, prices.price(card.name), default=card.name == prices.default_model)
        for card in services.engine.models()
        if card.name in prices.prices
    ]
    return json_response(ModelsResponse(items=items))


@router.get("/status", response_model=ChatStatusResponse)
async def status(services: ServicesDep, _: PrincipalDep) -> Response:
    """Whether the default model can answer."""
    default_model = services.price_list.default_model
    can_answer = {ModelState.READY, ModelState.LOADING, ModelState.PREPARED}
    ready = any(
        card.name == default_model and card.state in can_answer for card in services.engine.models()
    )
    return json_response(
        ChatStatusResponse(
            ready=ready, default_model=default_model, answers_under_way=services.chat.runs_open
        )
    )


@router.get("/history", response_model=WirePage[HistoryItem], dependencies=[FreshReads])
async def history(
    *,
    services: ServicesDep,
    who: PrincipalDep,
    conversation_id: UUID | None = None,
    model: Annotated[Line | None, Query(max_length=100)] = None,
    since: Instant | None = None,
    until: Instant | None = None,
    q: Annotated[Line | None, Query(max_length=200)] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Response:
    """Prompts and answers, newest first. q: a part of the text. until is exclusive."""
    check_period(since, until)
    page = await services.read_models.history(
        who.user_id,
        conversation_id=conversation_id,
        model=model,
        since=since,
        until=until,
        q=q,
        limit=limit,
        before=decode_cursor(cursor),
    )
    items = [convert.history_item(view) for view in page.items]
    return json_response(WirePage[HistoryItem](items=items, next_cursor=encode_cursor(page.next)))


@router.get("/conversations", response_model=WirePage[ConversationWire], dependencies=[FreshReads])
async def conversations(
    services: ServicesDep, who: PrincipalDep, limit: LimitQuery = 50, cursor: CursorQuery = None
) -> Response:
    """Conversations, the latest used first."""
    page = await services.read_models.conversations(
        who.user_id, limit=limit, before=decode_cursor(cursor)
    )
    items = [convert.conversation_wire(view) for view in page.items]
    return json_response(
        WirePage[ConversationWire](items=items, next_cursor=encode_cursor(page.next))
    )


@router.patch("/conversations/{conversation_id}", status_code=204)
async def rename(
    conversation_id: UUID, body: RenameRequest, services: ServicesDep, who: PrincipalDep
) -> Response:
    position = await services.conversations.rename(
        conversation_id=conversation_id, user_id=who.user_id, title=body.title
    )
    return no_content(position)


@router.delete("/conversations/{conversation_id}", status_code=204)
async def delete(conversation_id: UUID, services: ServicesDep, who: PrincipalDep) -> Response:
    """Hides the conversation; what it cost stays on the statement."""
    position = await services.conversations.delete(
        conversation_id=conversation_id, user_id=who.user_id
    )
    return no_content(position)


def _command(body: MessageRequest, who: Principal, key: IdempotencyKey | None) -> SendMessage:
    return SendMessage(
        user_id=who.user_id,
        text=body.message,
        model=body.model,
        conversation_id=body.conversation_id,
        max_tokens=body.max_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        seed=body.seed,
        key=key,
    )
