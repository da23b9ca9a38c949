"""Access and refresh tokens: JWTs (RFC 7519), signed with HMAC, checked for algorithm, type,
issuer and every claim that is read (RFC 8725)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import OctKey

from application.ports import Clock
from application.users.users import SignedIn
from domain.errors import Unauthenticated

ISSUER = "chatledger"


class TokenType(StrEnum):
    # RFC 9068 names at+jwt; refresh tokens have no registered type.
    ACCESS = "at+jwt"
    REFRESH = "rt+jwt"


class InvalidToken(Unauthenticated):
    code = "invalid_token"


class ExpiredToken(Unauthenticated):
    code = "token_expired"


@dataclass(frozen=True, kw_only=True)
class TokenPair:
    access_token: str
    refresh_token: str
    expires_in_s: int


@dataclass(frozen=True, kw_only=True)
class TokenClaims:
    """generation: of a refresh token; 0 for an access token."""

    user_id: UUID
    session_id: UUID
    generation: int


class Tokens:
    def __init__(
        self, *, secret: str, algorithm: str, access_lifetime: timedelta, clock: Clock
    ) -> None:
        self._key = OctKey.import_key(secret)
        self._algorithm = algorithm
        self._access_lifetime = access_lifetime
        self._clock = clock

    def issue(self, signed_in: SignedIn) -> TokenPair:
        access_end = self._clock.now() + self._access_lifetime
        return TokenPair(
            access_token=self._sign(TokenType.ACCESS, signed_in, access_end, generation=0),
            refresh_token=self._sign(
                TokenType.REFRESH,
                signed_in,
                signed_in.session_expires_at,
                generation=signed_in.generation,
            ),
            expires_in_s=int(self._access_lifetime.total_seconds()),
        )

    def read(self, token: str, expected: TokenType) -> TokenClaims:
        """Raises InvalidToken for anything that was not signed here as this type of token, and
        ExpiredToken."""
        try:
            decoded = jwt.decode(token, self._key, algorithms=[self._algorithm])
            if decoded.header.get("typ") != expected.value:
                raise InvalidToken(f"this is not {_article(expected)} token; send the right one")
            registry = jwt.JWTClaimsRegistry(
                now=int(self._clock.now().timestamp()),
                iss={"essential": True, "value": ISSUER},
                sub={"essential": True},
                exp={"essential": True},
            )
            registry.validate(decoded.claims)
            claims = decoded.claims
            return TokenClaims(
                user_id=UUID(claims["sub"]),
                session_id=UUID(claims["sid"]),
                generation=int(claims.get("gen", 0)),
            )
        except ExpiredTokenError:
            raise ExpiredToken("this token has expired; refresh it or sign in again") from None
        except (JoseError, ValueError, KeyError, TypeError, AttributeError):
            raise InvalidToken("this token is not valid; sign in again") from None

    def _sign(self, kind: TokenType, signed_in: SignedIn, end: datetime, *, generation: int) -> str:
        claims = {
            "iss": ISSUER,
            "sub": str(signed_in.user_id),
            "sid": str(signed_in.session_id),
            "iat": int(self._clock.now().timestamp()),
            "exp": int(end.timestamp()),
        }
        if generation:
            claims["gen"] = generation
        header = {"alg": self._algorithm, "typ": kind.value}
        return str(jwt.encode(header, claims, self._key, algorithms=[self._algorithm]))


def _article(kind: TokenType) -> str:
    return "an access" if kind is TokenType.ACCESS else "a refresh"
