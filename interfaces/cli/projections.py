"""`chatledger projections status|rebuild NAME`."""

import argparse
import asyncio
import sys

from application.ledger.event_macs import StateMacs, event_macs
from infrastructure.read_models.rebuild.shadow_tables import ReplayBounds
from infrastructure.settings.service import SettingsError
from interfaces.cli.options import settings_from
from interfaces.composition.endpoints import Endpoints, migrate_schema, open_endpoints
from interfaces.composition.ledger_keys import ledger_keys
from interfaces.composition.proofs import replay_bounds
from projections.registry import PROJECTIONS


def projections(options: argparse.Namespace) -> int:
    """Beside a running service too; without one, the embedded servers are started for this
    command alone."""
    settings = settings_from(options)
    if options.action == "rebuild":
        _check_name(options.name)
    with open_endpoints(settings, lambda _: None, may_join=True) as endpoints:
        migrate_schema(settings, endpoints)
        if options.action == "status":
            return asyncio.run(_status(endpoints))
        macs = event_macs(ledger_keys(settings, endpoints))
        return asyncio.run(_rebuild(endpoints, options.name, macs, replay_bounds(settings)))


def _check_name(name: str) -> None:
    """Raises SettingsError."""
    known = [projection.name for projection in PROJECTIONS]
    if name != "all" and name not in known:
        raise SettingsError(f"there is no projection {name!r}; choose all or {', '.join(known)}")


async def _status(endpoints: Endpoints) -> int:
    from infrastructure.read_models.queries import PostgresReadModels
    from infrastructure.read_models.query_pool import ReadPoolLimits

    read_models = PostgresReadModels(endpoints.service_url, ReadPoolLimits())
    await read_models.start()
    try:
        for name, position in sorted((await read_models.positions()).items()):
            print(f"{name:16} {position}")
    finally:
        await read_models.stop()
    return 0


async def _rebuild(endpoints: Endpoints, name: str, macs: StateMacs, bounds: ReplayBounds) -> int:
    from rich.progress import Progress

    from infrastructure.read_models.rebuild.rebuild import rebuild

    known = [projection.name for projection in PROJECTIONS]
    with Progress() as bar:
        task = bar.add_task(f"Rebuilding {name}", total=1.0)
        names = known if name == "all" else [name]
        await rebuild(
            names,
            endpoints.service_url,
            lambda fraction: bar.update(task, completed=fraction),
            macs=macs,
            bounds=bounds,
        )
    print(f"{name} is rebuilt from the log", file=sys.stderr)
    return 0
