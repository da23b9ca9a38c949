"""Every setting, by the name the operator uses: an environment variable, or a line of `.env`.
`docs/settings.md` lists them; a test compares the two."""

from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from domain.credits import credits_decimal, parse_credits
from domain.errors import InvalidAmount
from domain.pricing.price import Price, per_message, per_token
from infrastructure.inference_settings import InferenceSettings
from infrastructure.setting_types import Count, Days, Minutes, Port, Seconds

SECRET_CHARACTERS_MIN = 32
DEVELOPMENT_ADMIN_PASSWORD = "Admin123!"  # noqa: S105 - refused in production


class SettingsError(Exception):
    """A setting cannot be used; the text names it and says what to change."""


class Environment(StrEnum):
    DEVELOPMENT = "development"
    TEST = "test"
    PRODUCTION = "production"


class Settings(InferenceSettings):
    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", extra="ignore", str_strip_whitespace=True
    )

    environment: Environment = Field(
        Environment.DEVELOPMENT, description="`development`, `test` or `production`"
    )
    debug: bool = Field(False, description="Log at level DEBUG, in colours")
    log_level: str = Field("INFO", description="`DEBUG`, `INFO`, `WARNING` or `ERROR`")

    data_dir: Path = Field(
        Path("data"), description="Where the embedded servers, models and generated secrets live"
    )
    models_dir: Path | None = Field(
        None, description="Where prepared models live; empty: the folder models in DATA_DIR"
    )
    database_url: SecretStr = Field(
        SecretStr(""), description="PostgreSQL 17 or later, as the service's role; empty: embedded"
    )
    migration_database_url: SecretStr = Field(
        SecretStr(""), description="The same database as the schema's owner; empty: DATABASE_URL"
    )
    nats_url: SecretStr = Field(
        SecretStr(""), description="A NATS server with JetStream; empty: embedded"
    )
    nats_stream: str = Field("chatledger", description="Name of the JetStream stream of events")

    checkpoint_dir: Path | None = Field(
        None,
        description="Where signed checkpoints go, out of the database administrator's reach; empty:"
        " the folder checkpoints in DATA_DIR",
    )
    checkpoint_key: Path | None = Field(
        None,
        description="File of the key that signs them, made when it is missing; empty:"
        " checkpoint_key.pem in DATA_DIR",
    )
    checkpoint_events: Count = Field(
        10_000, description="A checkpoint is signed after so many events"
    )
    checkpoint_interval_s: Seconds = Field(
        10, description="Or after so much time, if there are new events"
    )

    replay_processes: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Processes that work on the whole log for a rebuild or a verification, 1 for"
        " none but the command's own; 0: as many as there are cores",
    )

    host: str = Field("127.0.0.1", description="Address that the API and the chat page bind")
    port: Port = Field(8000, description="Port of the REST API")
    ui_port: Port = Field(7861, description="Port of the chat page")
    api_url: str = Field("", description="Where the chat page finds the API; empty: HOST and PORT")

    secret_key: SecretStr = Field(
        SecretStr(""), description="Signs the chat page's cookies; empty: generated in DATA_DIR"
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

    default_model: str = Field("gemma3-270m", description="For messages that name no model")
    gemma3_270m_cost: str = Field(
        "2", description="Credits a message, or `prompt/completion` credits per 1,000 tokens"
    )
    gemma3_1b_cost: str = Field("10", description="The same for Gemma 3 1B")
    gemma3_4b_cost: str = Field("25", description="The same for Gemma 3 4B")
    gemma3_12b_cost: str = Field("50", description="The same for Gemma 3 12B")
    welcome_credits: Decimal = Field(
        Decimal(100), ge=0, description="Promotional credits of a new user"
    )

    generation_timeout_s: Seconds = Field(300, description="Longest generation of one answer")
    settle_retry_s: Seconds = Field(
        30, description="How long a finished answer waits for a database that is away"
    )
    hold_ttl_s: Seconds = Field(600, description="When a hold of an unfinished answer expires")
    sweep_interval_s: Seconds = Field(30, description="How often expired holds are released")

    ledger_threads: Count = Field(8, description="Ledger transactions that may run at once")
    conflict_retries_max: Count = Field(
        16, description="How often a command is decided anew after another writer was first"
    )
    cached_streams_max: Count = Field(2000, description="Folded streams kept in memory")
    read_pool_max: Count = Field(8, description="Database connections for queries")
    read_your_writes_timeout_s: Seconds = Field(
        5, description="How long a query waits for its Ledger-Position"
    )
    database_timeout_s: Annotated[int, Field(ge=1)] = Field(
        5, description="How long to wait for a database connection"
    )

    request_body_bytes_max: Count = Field(1_000_000, description="Largest request body")
    rate_limit_per_minute: Count = Field(600, description="Requests a user may send in a minute")
    sign_in_attempts_per_minute: Count = Field(
        20, description="Sign-in attempts for one name from one address in a minute"
    )
    registrations_per_minute: Count = Field(
        60, description="Registrations from one address in a minute"
    )
    shutdown_timeout_s: Seconds = Field(
        20, description="How long open requests may take to finish at shutdown"
    )

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
        return value.upper()

    @field_validator("jwt_algorithm")
    @classmethod
    def _known_algorithm(cls, value: str) -> str:
        if value not in {"HS256", "HS384", "HS512"}:
            raise ValueError("must be HS256, HS384 or HS512")
        return value

    @field_validator(
        "gemma3_270m_cost",
        "gemma3_1b_cost",
        "gemma3_4b_cost",
        "gemma3_12b_cost",
        "cached_response_cost",
    )
    @classmethod
    def _readable_price(cls, value: str) -> str:
        parse_price(value)
        return value

    @field_validator("welcome_credits")
    @classmethod
    def _exact_credits(cls, value: Decimal) -> Decimal:
        try:
            return value if value == 0 else credits_decimal(parse_credits(value))
        except InvalidAmount as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.default_model not in self.prices:
            raise ValueError(f"DEFAULT_MODEL: choose one of {', '.join(self.prices)}")
        if self.generation_timeout_s + self.settle_retry_s > self.hold_ttl_s:
            raise ValueError(
                "HOLD_TTL_S must be at least GENERATION_TIMEOUT_S plus SETTLE_RETRY_S, so that an"
                " answer in time can always be paid for"
            )
        if self.environment is Environment.PRODUCTION:
            self._check_production()
        return self

    def _check_production(self) -> None:
        if len(self.secret_key.get_secret_value()) < SECRET_CHARACTERS_MIN:
            raise ValueError(
                "ENVIRONMENT=production needs SECRET_KEY with at least"
                f" {SECRET_CHARACTERS_MIN} characters"
            )

    def check_service(self) -> None:
        """What the chat page alone does not need. Raises SettingsError."""
        if not self.is_production:
            return
        for name in ("database_url", "nats_url"):
            if not getattr(self, name).get_secret_value():
                raise SettingsError(
                    f"ENVIRONMENT=production needs {name.upper()}; the embedded servers are for"
                    " development"
                )
        if len(self.jwt_secret_key.get_secret_value()) < SECRET_CHARACTERS_MIN:
            raise SettingsError(
                "ENVIRONMENT=production needs JWT_SECRET_KEY with at least"
                f" {SECRET_CHARACTERS_MIN} characters"
            )

    @property
    def is_production(self) -> bool:
        return self.environment is Environment.PRODUCTION

    @property
    def prices(self) -> dict[str, Price]:
        return {
            "gemma3-270m": parse_price(self.gemma3_270m_cost),
            "gemma3-1b": parse_price(self.gemma3_1b_cost),
            "gemma3-4b": parse_price(self.gemma3_4b_cost),
            "gemma3-12b": parse_price(self.gemma3_12b_cost),
        }

    @property
    def prepared_models_dir(self) -> Path:
        return self.models_dir or self.data_dir / "models"

    @property
    def checkpoint_folder(self) -> Path:
        return self.checkpoint_dir or self.data_dir / "checkpoints"

    @property
    def checkpoint_key_file(self) -> Path:
        return self.checkpoint_key or self.data_dir / "checkpoint_key.pem"

    @property
    def welcome_micro(self) -> int:
        return parse_credits(self.welcome_credits) if self.welcome_credits else 0


def parse_price(text: str) -> Price:
    """ "10" is 10 credits a message; "0.4/1.2" is 0.4 credits per 1,000 prompt tokens and 1.2 per
    1,000 completion tokens. Raises ValueError."""
    try:
        prompt, slash, completion = text.partition("/")
        if not slash:
            return per_message(_parse_part(prompt))
        return per_token(
            prompt_micro_per_1000=_parse_part(prompt),
            completion_micro_per_1000=_parse_part(completion),
        )
    except InvalidAmount as error:
        raise ValueError(
            f"{text!r} is no price: write credits a message, such as 10, or credits per 1,000"
            f" prompt and completion tokens, such as 0.4/1.2 ({error})"
        ) from None


def _parse_part(text: str) -> int:
    text = text.strip()
    return 0 if text == "0" else parse_credits(text)


def load_settings(**overrides: object) -> Settings:
    """Raises SettingsError with one line for each setting that cannot be used."""
    from pydantic import ValidationError

    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in item['loc']).upper() or 'settings'}: "
            + item["msg"].removeprefix("Value error, ")
            for item in error.errors(include_input=False, include_url=False)
        ]
        raise SettingsError("; ".join(lines)) from None
