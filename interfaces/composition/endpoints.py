"""The part of the composition root that finds the servers, the operator's or embedded ones that it
starts; that brings the schema up to date, and opens the ledger on them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import structlog

from application.ledger.keys import LedgerKeys
from application.ledger.ledger import Ledger, LedgerLimits
from infrastructure.database.migrate import migrate
from infrastructure.database.role_rights import describe_rights, rights_beyond_need
from infrastructure.embedded.joining import join_servers
from infrastructure.embedded.servers import DataDirInUse, EmbeddedServers, EmbeddedSettings
from infrastructure.event_store.recorder import open_application
from infrastructure.log.state import is_from_before_macs, unsealed
from infrastructure.monitoring.log_end import end_trouble
from infrastructure.process.clock_ids import SystemClock
from infrastructure.settings.service import Settings, SettingsError
from infrastructure.settings.start_checks import check_service

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """owner_url: used for migrations only. nats_read_url: of a NATS user who only reads; empty: use
    nats_url. failing: the names of embedded servers that end as soon as they are started."""

    owner_url: str
    service_url: str
    nats_url: str
    nats_read_url: str = ""
    failing: Callable[[], tuple[str, ...]] = tuple


@contextmanager
def open_endpoints(
    settings: Settings, on_progress: Callable[[str], None], *, may_join: bool = False
) -> Iterator[Endpoints]:
    """The operator's servers, or embedded ones where none are configured.

    may_join: whether to use the embedded servers of a service that runs on the same data folder.
    Raises EmbeddedServerError, SettingsError.
    """
    check_service(settings)
    service_url = settings.database_url.get_secret_value()
    nats_url = settings.nats_url.get_secret_value()
    if service_url and nats_url:
        owner_url = settings.migration_database_url.get_secret_value() or service_url
        yield Endpoints(
            owner_url=owner_url,
            service_url=service_url,
            nats_url=nats_url,
            nats_read_url=settings.nats_read_url.get_secret_value(),
        )
        return
    data_dir = settings.data_dir.resolve()
    try:
        embedded = EmbeddedServers.start(
            EmbeddedSettings(data_dir=data_dir, nats_stream=settings.nats_stream), on_progress
        )
    except DataDirInUse:
        joined = join_servers(data_dir) if may_join else None
        if joined is None:
            raise
        yield Endpoints(
            owner_url=joined.owner_database_url,
            service_url=joined.service_database_url,
            nats_url=joined.nats_url,
            nats_read_url=joined.nats_read_url,
        )
        return
    try:
        yield Endpoints(
            owner_url=embedded.owner_database_url,
            service_url=embedded.service_database_url,
            nats_url=embedded.nats_url,
            nats_read_url=embedded.nats_read_url,
            failing=lambda: embedded.failing,
        )
    finally:
        embedded.stop()


def open_ledger(settings: Settings, endpoints: Endpoints, keys: LedgerKeys) -> Ledger:
    """The ledger; its close() releases what it holds."""
    application = open_application(
        endpoints.service_url,
        keys,
        threads=settings.ledger_threads,
        connect_timeout_s=settings.database_timeout_s,
        cached_streams_max=settings.cached_streams_max,
    )
    limits = LedgerLimits(
        threads=settings.ledger_threads,
        conflict_retries_max=settings.conflict_retries_max,
        wait_s_max=settings.database_timeout_s,
    )
    return Ledger(application, SystemClock(), limits)


def migrate_schema(
    settings: Settings, endpoints: Endpoints, *, for_audit: bool = False, for_sealing: bool = False
) -> int:
    """Bring the schema up to date; returns its version.

    A service's role with more rights than it needs is refused in production, and logged as a
    warning elsewhere. for_audit: a warning in production, too. for_sealing: also for a log from
    before events carried MACs, which is refused otherwise.

    Raises LogUnsealed, MigrationError, SettingsError, psycopg.Error.
    """
    timeout_s = settings.database_timeout_s
    if not for_sealing:
        with psycopg.connect(endpoints.owner_url, connect_timeout=timeout_s) as connection:
            if is_from_before_macs(connection):
                raise unsealed("the log")
    version = migrate(endpoints.owner_url, endpoints.service_url, connect_timeout_s=timeout_s)
    found = rights_beyond_need(endpoints.service_url, connect_timeout_s=timeout_s)
    if found and settings.is_production and not for_audit:
        raise SettingsError(
            "DATABASE_URL: the service's role may do more than the service needs, so whoever gets"
            f" its password could, too: {describe_rights(found)}. docs/servers.md has the"
            " commands that make a role of its own"
        )
    if found:
        log.warning("database_role_may_do_more_than_needed", rights=describe_rights(found))
    if trouble := end_trouble(endpoints.service_url, connect_timeout_s=timeout_s):
        log.error("commits_will_be_refused", reason=trouble)
    return version
