"""Wire models of registration and sign-in."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from domain.users.events import UserRole
from interfaces.http.fields import Line, WireModel

# Longer ones are refused by the domain's own rules, in its own words.
_Field = Annotated[Line, Field(max_length=1000)]


class RegisterRequest(WireModel):
    username: _Field
    email: _Field
    password: Annotated[str, Field(max_length=1000)]


class RegisteredResponse(WireModel):
    user_id: UUID
    username: str
    email: str
    email_verified: bool


class LoginRequest(WireModel):
    """username: the username or the e-mail address."""

    username: _Field
    password: Annotated[str, Field(max_length=1000)]


class RefreshRequest(WireModel):
    refresh_token: Annotated[str, Field(max_length=4000)]


class TokenResponse(WireModel):
    """expires_in: seconds until the access token expires."""

    access_token: str
    refresh_token: str
    token_type: str = "bearer"  # noqa: S105 - RFC 6749's word, no secret
    expires_in: int


class MeResponse(WireModel):
    user_id: UUID
    username: str
    email: str
    email_verified: bool
    role: UserRole
