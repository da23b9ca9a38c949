"""What the HTTP layer is given by the composition root."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from application.accounts import Accounts
from application.chat.inference import InferenceEngine
from application.chat.price_list import PriceList
from application.chat.process import ChatProcess
from application.conversations import Conversations
from application.proofs import Proofs
from application.read_models import ReadModels
from application.users.users import Users
from infrastructure.identity.tokens import Tokens
from interfaces.http.caller import CallerAddresses
from interfaces.http.exports import ExportLimits
from interfaces.http.limits.rate_limits import PositionWaits, RateLimit
from interfaces.http.limits.sign_in_guard import SignInGuard


@dataclass(frozen=True, kw_only=True)
class Component:
    """One part's health. detail: a sentence for the operator."""

    name: str
    healthy: bool
    detail: str


@dataclass(frozen=True, kw_only=True)
class HttpServices:
    """health: every part as it is now. development: credits may be added without payment."""

    users: Users
    accounts: Accounts
    conversations: Conversations
    chat: ChatProcess
    engine: InferenceEngine
    read_models: ReadModels
    proofs: Proofs
    price_list: PriceList
    tokens: Tokens
    request_limit: RateLimit
    address_limit: RateLimit
    refresh_limit: RateLimit
    registration_limit: RateLimit
    sign_in_guard: SignInGuard
    caller_addresses: CallerAddresses
    position_waits: PositionWaits
    export_limits: ExportLimits
    request_body_bytes_max: int
    development: bool
    new_id: Callable[[], UUID]
    health: Callable[[], Awaitable[list[Component]]]
