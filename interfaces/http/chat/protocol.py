"""Wire models of chat."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from application.chat.inference import ModelState
from application.read_models import MessageRole, MessageStatus
from domain.pricing.price import PriceKind
from interfaces.http.fields import Credits, Line, Real, Whole, WireModel

TEMPERATURE_MAX = 2.0


class QuoteRequest(WireModel):
    """max_tokens: at most what the service gives; missing is as much as it gives."""

    message: str
    model: Annotated[Line, Field(max_length=100)] | None = None
    conversation_id: UUID | None = None
    max_tokens: Annotated[Whole, Field(ge=1, le=1_000_000)] | None = None


class MessageRequest(QuoteRequest):
    """temperature 0 is greedy: the same prompt gets the same answer. seed makes any other
    temperature repeatable. stream: server-sent events instead of one JSON document."""

    temperature: Annotated[Real, Field(ge=0, le=TEMPERATURE_MAX)] = 0.7
    top_p: Annotated[Real, Field(gt=0, le=1)] = 0.95
    seed: Annotated[Whole, Field(ge=0, lt=2**63)] | None = None
    stream: bool = False


class UsageWire(WireModel):
    prompt_tokens: int
    completion_tokens: int


class BalanceWire(WireModel):
    available: Credits
    held: Credits


class MessageResponse(WireModel):
    """message_id: the answer's, which has a receipt. response: empty where the model gave no text,
    which costs nothing. finish_reason: "stop", "length", "cancelled", "timeout" or "error"; the
    last two end an answer of which some had been delivered. turns_dropped: earlier turns of the
    conversation that did not fit the window, whole exchanges of two. cost: what was debited.
    balance: after it."""

    message_id: UUID
    conversation_id: UUID
    model: str
    response: str
    finish_reason: str
    usage: UsageWire
    turns_dropped: int
    cost: Credits
    balance: BalanceWire
    cached: bool
    latency_ms: int


class StartedWire(WireModel):
    """The first event of a stream. held: set aside until the answer is there. turns_dropped: as in
    the answer."""

    message_id: UUID
    conversation_id: UUID
    model: str
    held: Credits
    max_tokens: int
    turns_dropped: int


class DeltaWire(WireModel):
    text: str


class PriceWire(WireModel):
    """credits: of a per-message price; the other two are of a per-token price."""

    kind: PriceKind
    credits: Credits | None = None
    prompt_credits_per_1000: Credits | None = None
    completion_credits_per_1000: Credits | None = None


class ModelWire(WireModel):
    name: str
    title: str
    state: ModelState
    detail: str
    context_tokens: int
    price: PriceWire
    licence: str
    licence_url: str
    manifest_hash: str | None
    runs_on: str | None
    computed_on: str | None
    default: bool


class ModelsResponse(WireModel):
    items: list[ModelWire]


class ChatStatusResponse(WireModel):
    """answers_under_way: in this process, of all users."""

    ready: bool
    default_model: str
    answers_under_way: int


class QuoteResponse(WireModel):
    """cost_max: what would be held. turns_dropped: earlier turns that do not fit the window, whole
    exchanges of two."""

    model: str
    price: PriceWire
    prompt_tokens: int
    turns_dropped: int
    max_tokens: int
    cost_max: Credits
    available: Credits
    affordable: bool


class ConversationWire(WireModel):
    conversation_id: UUID
    title: str
    model: str
    message_count: int
    created_at: datetime
    updated_at: datetime


class RenameRequest(WireModel):
    title: str


class HistoryItem(WireModel):
    """cost and the fields after it are an answer's."""

    message_id: UUID
    conversation_id: UUID
    reply_to: UUID | None
    role: MessageRole
    content: str
    model: str
    status: MessageStatus
    cost: Credits | None
    prompt_tokens: int | None
    completion_tokens: int | None
    finish_reason: str | None
    latency_ms: int | None
    created_at: datetime
