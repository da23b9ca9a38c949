"""What every route may ask for: the services, who is calling, the idempotency key, and read
models that are up to date enough."""

from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.security import OAuth2PasswordBearer

from application.ledger.idempotency import KEY_CHARACTERS_MAX
from application.users.users import Principal
from domain.errors import InvalidInput, Unauthenticated
from infrastructure.identity.tokens import TokenType
from interfaces.http.problems import ServiceBusy
from interfaces.http.responses import POSITION_HEADER
from interfaces.http.services import HttpServices
from interfaces.web.visitor_address import VISITOR_HEADER

_scheme = OAuth2PasswordBearer(tokenUrl="/auth/token", auto_error=False)


class InvalidHeader(InvalidInput):
    code = "invalid_header"


# These are coroutines, because FastAPI runs each plain function in a thread of its pool.


async def http_services(request: Request) -> HttpServices:
    services = request.app.state.services
    assert isinstance(services, HttpServices)
    return services


ServicesDep = Annotated[HttpServices, Depends(http_services)]


async def principal(
    services: ServicesDep, request: Request, token: Annotated[str | None, Depends(_scheme)]
) -> Principal:
    """Raises Unauthenticated, UserIsSuspended, RateLimited."""
    if not token:
        raise Unauthenticated("send an access token as Authorization: Bearer …; sign in to get one")
    claims = services.tokens.read(token, TokenType.ACCESS)
    request.scope["extra_headers"] = services.request_limit.check(str(claims.user_id))
    return await services.users.principal(user_id=claims.user_id, session_id=claims.session_id)


PrincipalDep = Annotated[Principal, Depends(principal)]


async def idempotency_header(
    key: Annotated[str | None, Header(alias="Idempotency-Key")] = None,
) -> str | None:
    """Raises InvalidHeader."""
    if key is None:
        return None
    # Headers are ASCII (RFC 9110, section 5.5); other bytes would be read as other characters.
    if not (1 <= len(key) <= KEY_CHARACTERS_MAX and key.isascii() and key.isprintable()):
        raise InvalidHeader(
            f"an Idempotency-Key has 1 to {KEY_CHARACTERS_MAX} printable ASCII characters"
        )
    return key


IdempotencyDep = Annotated[str | None, Depends(idempotency_header)]


async def caller_address(
    services: ServicesDep,
    request: Request,
    visitor: Annotated[str | None, Header(alias=VISITOR_HEADER, include_in_schema=False)] = None,
) -> str:
    """Where a request without a token comes from. Raises RateLimited."""
    connection = request.client.host if request.client else None
    address = services.caller_addresses.of(connection, visitor)
    services.address_limit.check(address)
    return address


AddressDep = Annotated[str, Depends(caller_address)]


async def fresh_reads(
    services: ServicesDep,
    who: PrincipalDep,
    position: Annotated[str | None, Header(alias=POSITION_HEADER)] = None,
) -> None:
    """Waits, within a bound, until the read models hold the event that the client has seen. Only
    people who are signed in wait: commands tell them how long the log is anyway, so how long they
    wait tells them nothing new.

    Raises InvalidHeader, ServiceBusy, and what `principal` raises.
    """
    if position is None:
        return
    if not (position.isascii() and position.isdigit() and len(position) <= 18):
        raise InvalidHeader(f"{POSITION_HEADER} must be a number from an earlier answer")
    with services.position_waits.one(who.user_id) as timeout_s:
        is_there = await services.read_models.wait_for(int(position), timeout_s)
    if not is_there:
        raise ServiceBusy(
            "read_model_behind", "the read models have not caught up yet; try again shortly"
        )


FreshReads = Depends(fresh_reads)
