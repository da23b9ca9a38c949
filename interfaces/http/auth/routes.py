"""POST /auth/register, login, token, refresh, logout; GET /auth/me."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.security import OAuth2PasswordRequestForm

from application.ledger.idempotency import Outcome, idempotency_key
from application.users.registration import RegisteredUser
from application.users.users import SignedIn
from domain.identifiers import username_claim_id
from infrastructure.identity.tokens import TokenType
from interfaces.http.auth.protocol import (
    LoginRequest,
    MeResponse,
    RefreshRequest,
    RegisteredResponse,
    RegisterRequest,
    TokenResponse,
)
from interfaces.http.context import (
    AddressDep,
    IdempotencyDep,
    PrincipalDep,
    ServicesDep,
    caller_address,
)
from interfaces.http.json_body import check_form
from interfaces.http.responses import json_response, no_content
from interfaces.http.routing import ExactRoute
from interfaces.http.services import HttpServices

router = APIRouter(prefix="/auth", tags=["auth"], route_class=ExactRoute)


@router.post("/register", status_code=201, response_model=RegisteredResponse)
async def register(
    body: RegisterRequest, services: ServicesDep, address: AddressDep, header: IdempotencyDep
) -> Response:
    """Creates a user with an account and its welcome credits."""
    services.registration_limit.check(address)
    outcome = await _register(body, services, address, header)
    user = outcome.result
    response = RegisteredResponse(
        user_id=user.user_id,
        username=user.username,
        email=user.email,
        email_verified=user.email_verified,
    )
    return json_response(response, status=201, position=outcome.position, replayed=outcome.replayed)


@router.post("/login", response_model=TokenResponse)
async def login(body: LoginRequest, services: ServicesDep, address: AddressDep) -> Response:
    """Opens a session. Tokens are never stored, so an Idempotency-Key has no effect here."""
    return await _sign_in(services, address, body.username, body.password)


@router.post("/token", response_model=TokenResponse)
async def token(
    form: Annotated[OAuth2PasswordRequestForm, Depends()],
    services: ServicesDep,
    address: AddressDep,
) -> Response:
    """The same as an OAuth 2 password form (RFC 6749, section 4.3), for tools that send it."""
    check_form(form.username, form.password)
    return await _sign_in(services, address, form.username, form.password)


@router.post("/refresh", response_model=TokenResponse, dependencies=[Depends(caller_address)])
async def refresh(body: RefreshRequest, services: ServicesDep) -> Response:
    """A new pair for a refresh token. The same token again, at once from another tab, gets the
    same; using an old one later ends the session."""
    claims = services.tokens.read(body.refresh_token, TokenType.REFRESH)
    services.refresh_limit.check(str(claims.session_id))
    signed_in = await services.users.refresh(
        session_id=claims.session_id, generation=claims.generation
    )
    return _tokens(services, signed_in)


@router.post("/logout", status_code=204)
async def logout(services: ServicesDep, who: PrincipalDep) -> Response:
    """Ends this session."""
    return no_content(await services.users.sign_out(session_id=who.session_id))


@router.get("/me", response_model=MeResponse)
async def me(who: PrincipalDep) -> Response:
    """Who the access token speaks for."""
    return json_response(
        MeResponse(
            user_id=who.user_id,
            username=who.username,
            email=who.email,
            email_verified=who.email_verified,
            role=who.role,
        )
    )


async def _register(
    body: RegisterRequest, services: HttpServices, address: str, header: str | None
) -> Outcome[RegisteredUser]:
    # Nobody is signed in yet, so the key belongs to the username that is asked for.
    key = idempotency_key(
        username_claim_id(body.username),
        header,
        "register",
        username=body.username,
        email=body.email,
    )
    register = partial(
        services.users.register,
        username=body.username,
        email=body.email,
        password=body.password,
        key=key,
    )
    guard = services.sign_in_guard
    name = await services.users.named(body.username)
    if key is not None and name.user is not None:
        # A registration that is sent again is compared with the stored password, which makes it a
        # guess.
        with guard.trying(name.account, address) as turn:
            return await register(turn=turn)
    outcome = await register(turn=guard.turn(name.account, address))
    guard.know(outcome.result.user_id, address)
    return outcome


async def _sign_in(
    services: HttpServices, address: str, login_name: str, password: str
) -> Response:
    name = await services.users.named(login_name)
    with services.sign_in_guard.trying(name.account, address) as turn:
        signed_in = await services.users.sign_in(login=name, password=password, turn=turn)
    return _tokens(services, signed_in)


def _tokens(services: HttpServices, signed_in: SignedIn) -> Response:
    pair = services.tokens.issue(signed_in)
    response = TokenResponse(
        access_token=pair.access_token,
        refresh_token=pair.refresh_token,
        expires_in=pair.expires_in_s,
    )
    result = json_response(response, position=signed_in.position)
    result.headers["Cache-Control"] = "no-store"
    return result
