"""The settings of who is asking: secrets, tokens, sessions and passwords."""

from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from infrastructure.setting_types import Count, Days, Minutes


class IdentitySettings(BaseSettings):
    secret_key: SecretStr = Field(
        SecretStr(""),
        description="Signs the chat page's cookies, and towards the API, which needs the same one,"
        " the addresses of its visitors; empty: generated in DATA_DIR",
    )
    jwt_secret_key: SecretStr = Field(
        SecretStr(""), description="Signs tokens; empty: generated in DATA_DIR"
    )
    jwt_algorithm: str = Field("HS256", description="`HS256`, `HS384` or `HS512`")
    jwt_expire_minutes: Minutes = Field(30, description="Lifetime of an access token")
    refresh_expire_days: Days = Field(30, description="Lifetime of a session without use")
    bcrypt_rounds: Annotated[int, Field(ge=4, le=16)] = Field(
        12, description="Cost of a password hash: 2 to this power rounds"
    )

    sign_in_attempts_per_minute: Count = Field(
        20, description="Sign-in attempts for one name from one address in a minute"
    )
    registrations_per_minute: Count = Field(
        60, description="Registrations from one address in a minute"
    )

    @field_validator("jwt_algorithm")
    @classmethod
    def _known_algorithm(cls, value: str) -> str:
        if value not in {"HS256", "HS384", "HS512"}:
            raise ValueError("must be HS256, HS384 or HS512")
        return value
