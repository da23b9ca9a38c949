"""The settings of what is stored: where it lies, and how much of the database is used at once."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from infrastructure.settings.types import Count, Seconds


class StorageSettings(BaseSettings):
    data_dir: Path = Field(
        Path("data"), description="Where the embedded servers, models and generated secrets live"
    )
    models_dir: Path | None = Field(
        None, description="Where prepared models live; empty: the folder models in DATA_DIR"
    )
    database_url: SecretStr = Field(
        SecretStr(""),
        description="URL of PostgreSQL 17 or later, with the service's role; empty: embedded",
    )
    migration_database_url: SecretStr = Field(
        SecretStr(""),
        description="URL of the same database, with the role that owns the schema; empty:"
        " DATABASE_URL",
    )
    nats_url: SecretStr = Field(
        SecretStr(""), description="URL of a NATS server with JetStream; empty: embedded"
    )
    nats_read_url: SecretStr = Field(
        SecretStr(""),
        description="URL of the same server, with a user who can only read; empty: NATS_URL",
    )
    nats_stream: str = Field("chatledger", description="Name of the JetStream stream of events")

    checkpoint_dir: Path | None = Field(
        None,
        description="Folder of signed checkpoints, out of reach for whoever administers the"
        " database; empty: the folder checkpoints in DATA_DIR",
    )
    checkpoint_key: Path | None = Field(
        None,
        description="File of the key that signs checkpoints, made when it is missing; empty:"
        " checkpoint_key.pem in DATA_DIR",
    )
    checkpoint_events: Count = Field(
        10_000, description="A checkpoint is signed after this many events"
    )
    checkpoint_interval_s: Seconds = Field(
        10, description="A checkpoint is also signed after this time, if there are new events"
    )

    ledger_keys: Path | None = Field(
        None,
        description="File of the keys that authenticate events, snapshots and messages, made for an"
        " empty ledger; back it up apart from the database; empty: ledger_keys.json in DATA_DIR",
    )

    replay_processes: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Processes that share the work of a rebuild or a verification; 1: the command"
        " does all of it itself; 0: one for each core",
    )

    ledger_threads: Count = Field(
        8, description="Streams that are read from the log at the same time"
    )
    conflict_retries_max: Count = Field(
        16, description="How often a command is decided again because another process wrote first"
    )
    cached_streams_max: Count = Field(2000, description="Streams whose states are kept in memory")
    read_pool_max: Count = Field(8, description="Database connections for queries")
    read_your_writes_timeout_s: Seconds = Field(
        5, description="How long a query waits for its Ledger-Position"
    )
    position_waits_max: Count = Field(
        16,
        description="Queries of one user that may wait for their Ledger-Position at the same time;"
        " further ones do not wait",
    )
    database_timeout_s: Annotated[int, Field(ge=1)] = Field(
        5, description="How long to wait for a database connection"
    )

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
    def ledger_key_file(self) -> Path:
        return self.ledger_keys or self.data_dir / "ledger_keys.json"
