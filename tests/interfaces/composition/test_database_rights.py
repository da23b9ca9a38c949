"""A service whose role may do more than it needs: refused in production, warned about elsewhere."""

from pathlib import Path
from typing import Any

import pytest
import structlog

from infrastructure.database.migrate import MigrationError
from infrastructure.settings.service import Settings, SettingsError, load_settings
from interfaces.composition.endpoints import Endpoints, migrate_schema
from tests.support.servers import DatabaseUrls

SECRET = "a secret of the tests that nobody would ever guess, 0123456789"


def settings_of(environment: str, urls: DatabaseUrls, folder: Path) -> Settings:
    return load_settings(
        _env_file=None,
        environment=environment,
        data_dir=folder,
        database_url=urls.service,
        nats_url="nats://127.0.0.1:1",
        secret_key=SECRET,
        jwt_secret_key=SECRET,
    )


def migrated_as(
    environment: str, urls: DatabaseUrls, folder: Path, **options: Any
) -> list[dict[str, Any]]:
    """What was logged beyond the migrations."""
    endpoints = Endpoints(owner_url=urls.owner, service_url=urls.service, nats_url="")
    with structlog.testing.capture_logs() as logs:
        migrate_schema(settings_of(environment, urls, folder), endpoints, **options)
    return [dict(line) for line in logs if line["event"] != "migration_applied"]


def one_role(urls: DatabaseUrls) -> DatabaseUrls:
    """As an operator begins who sets DATABASE_URL and nothing else."""
    return DatabaseUrls(owner=urls.owner, service=urls.owner)


def test_the_embedded_servers_role_is_taken_without_a_word(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    for environment in ("development", "production"):
        assert migrated_as(environment, database, tmp_path) == []


def test_one_role_for_all_is_one_warning_in_development(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    (line,) = migrated_as("development", one_role(database), tmp_path)

    assert line["event"] == "database_role_may_do_more_than_needed"
    assert "it owns the database" in line["rights"]


def test_one_role_for_all_is_refused_in_production_with_what_to_do(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError) as refused:
        migrated_as("production", one_role(database), tmp_path)

    assert "DATABASE_URL: the service's role may do more" in str(refused.value)
    assert "MIGRATION_DATABASE_URL" in str(refused.value)


def test_the_services_own_role_cannot_migrate_and_is_told_what_is_missing(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    migrated_as("production", database, tmp_path)
    alone = DatabaseUrls(owner=database.service, service=database.service)

    with pytest.raises(MigrationError, match="set MIGRATION_DATABASE_URL to the same database"):
        migrated_as("production", alone, tmp_path)


def test_such_a_ledger_can_still_be_verified(database: DatabaseUrls, tmp_path: Path) -> None:
    (line,) = migrated_as("production", one_role(database), tmp_path, for_audit=True)

    assert line["log_level"] == "warning"
