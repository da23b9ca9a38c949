"""The settings of who is asking: secrets, tokens, sessions and passwords."""

from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from infrastructure.settings.types import Count, Days, Minutes, Seconds, SecondsOrNone


class IdentitySettings(BaseSettings):
    secret_key: SecretStr = Field(
        SecretStr(""),
        description="Key that signs the chat page's cookies and the addresses of visitors that the"
        " page tells the API; both need the same key; empty: generated in DATA_DIR",
    )
    jwt_secret_key: SecretStr = Field(
        SecretStr(""),
        description="Key that signs access and refresh tokens; empty: generated in DATA_DIR",
    )
    jwt_algorithm: str = Field("HS256", description="`HS256`, `HS384` or `HS512`")
    jwt_expire_minutes: Minutes = Field(30, description="Lifetime of an access token")
    refresh_expire_days: Days = Field(30, description="Lifetime of a session without use")
    bcrypt_rounds: Annotated[int, Field(ge=4, le=16)] = Field(
        12, description="Cost of a password hash: 2 to this power rounds"
    )

    refresh_grace_s: SecondsOrNone = Field(
        10,
        description="How long a used refresh token may come once more, from another tab of the"
        " same browser",
    )

    sign_in_failures_max: Count = Field(
        10, description="Wrong passwords for an account from one address, before it has to wait"
    )
    sign_in_address_failures_max: Count = Field(
        30, description="Wrong passwords from one address for any accounts, before it has to wait"
    )
    sign_in_account_failures_max: Count = Field(
        100,
        description="Wrong passwords for an account, before addresses from which nobody has signed"
        " in to it have to take turns",
    )
    sign_in_delay_s_max: Seconds = Field(
        300, description="The longest time that an address has to wait between two wrong passwords"
    )
    sign_in_turn_s: Seconds = Field(
        2, description="Time between two turns, once SIGN_IN_ACCOUNT_FAILURES_MAX is reached"
    )
    sign_in_forget_s: Seconds = Field(
        3600, description="Wrong passwords are forgotten this long after the last one"
    )
    sign_in_records_max: Count = Field(
        50_000, description="Accounts and addresses whose sign-ins are remembered"
    )
    address_requests_per_minute: Count = Field(
        600, description="Registrations, sign-ins and refreshes from one address in a minute"
    )
    refreshes_per_minute: Count = Field(20, description="Refreshes of one session in a minute")
    registrations_per_minute: Count = Field(
        60, description="Registrations from one address in a minute"
    )

    password_threads: Annotated[int, Field(ge=0, le=1024)] = Field(
        0, description="Passwords that are hashed at the same time; 0: one for each two cores"
    )
    password_queue_max: Count = Field(
        64,
        description="Passwords that may wait to be hashed: this many from addresses where nobody"
        " has signed in before, and this many from other addresses",
    )
    password_queue_address_max: Count = Field(
        8,
        description="Passwords that may wait to be hashed from one address where nobody has signed"
        " in before, or for one account from an address where somebody has",
    )
    password_wait_s_max: Seconds = Field(
        10, description="How long a password may wait to be hashed; then it is refused"
    )
    password_hashes_per_minute: Count = Field(
        300,
        description="Passwords hashed in a minute for addresses where nobody has signed in before",
    )

    @field_validator("jwt_algorithm")
    @classmethod
    def _known_algorithm(cls, value: str) -> str:
        if value not in {"HS256", "HS384", "HS512"}:
            raise ValueError("must be HS256, HS384 or HS512")
        return value
