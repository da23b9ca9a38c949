"""Every setting, by the name the operator uses: an environment variable, or a line of `.env`.
`docs/settings.md` lists them; a test compares the two."""

from enum import StrEnum
from typing import Any, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from infrastructure.settings.chat import ChatSettings
from infrastructure.settings.identity import IdentitySettings
from infrastructure.settings.inference import InferenceSettings
from infrastructure.settings.network import NetworkSettings
from infrastructure.settings.page import PageSettings
from infrastructure.settings.reachability import BadAddress, is_loopback_alone
from infrastructure.settings.storage import StorageSettings
from infrastructure.settings.types import Count, Port, Seconds

DEVELOPMENT_ADMIN_PASSWORD = "Admin123!"  # noqa: S105 - refused where others come in


class SettingsError(Exception):
    """A setting cannot be used; the text names it and says what to change."""


class Environment(StrEnum):
    DEVELOPMENT = "development"
    TEST = "test"
    PRODUCTION = "production"


class Settings(
    ChatSettings,
    IdentitySettings,
    StorageSettings,
    NetworkSettings,
    PageSettings,
    InferenceSettings,
):
    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", extra="ignore", str_strip_whitespace=True
    )

    environment: Environment = Field(
        Environment.DEVELOPMENT, description="`development`, `test` or `production`"
    )
    debug: bool = Field(False, description="Log at level DEBUG, in colours")
    log_level: str = Field("INFO", description="`DEBUG`, `INFO`, `WARNING` or `ERROR`")

    host: str = Field("127.0.0.1", description="Address that the API and the chat page bind")
    port: Port = Field(8000, description="Port of the REST API")
    ui_port: Port = Field(7861, description="Port of the chat page")
    api_url: str = Field("", description="Where the chat page finds the API; empty: HOST and PORT")

    request_body_bytes_max: Count = Field(1_000_000, description="Largest request body")
    rate_limit_per_minute: Count = Field(600, description="Requests a user may send in a minute")
    exports_per_user_max: Count = Field(2, description="Exports of one user that go on at once")
    export_timeout_s: Seconds = Field(600, description="How long one export may take")
    shutdown_timeout_s: Seconds = Field(
        20, description="How long open requests may take to finish at shutdown"
    )

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
        return value.upper()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.default_model not in self.prices:
            raise ValueError(f"DEFAULT_MODEL: choose one of {', '.join(self.prices)}")
        if self.generation_timeout_s + self.settle_retry_s > self.hold_ttl_s:
            raise ValueError(
                "HOLD_TTL_S must be at least GENERATION_TIMEOUT_S plus SETTLE_RETRY_S, so that an"
                " answer in time can always be paid for"
            )
        return self

    @property
    def is_production(self) -> bool:
        return self.environment is Environment.PRODUCTION

    @property
    def is_for_this_machine(self) -> bool:
        """Whether nobody but this machine's own users can come."""
        if self.is_production or self.trusted_proxies:
            return False
        try:
            return is_loopback_alone(self.host)
        except BadAddress:
            return False


def load_settings(**overrides: Any) -> Settings:
    """Raises SettingsError with one line for each setting that cannot be used."""
    from pydantic import ValidationError

    try:
        return Settings(**overrides)
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in item['loc']).upper() or 'settings'}: "
            + item["msg"].removeprefix("Value error, ")
            for item in error.errors(include_input=False, include_url=False)
        ]
        raise SettingsError("; ".join(lines)) from None
