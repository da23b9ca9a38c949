"""What the chain and the checkpoints cost, and how fast the log is verified: with and without them,
in turn, on one server."""

import argparse
import asyncio
import json
import logging
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil
import psycopg
import structlog

from benchmarks import machine
from benchmarks.figures import Figure, Goal, of_repeats, table
from benchmarks.keys import EVENT_MACS, LEDGER_KEYS
from benchmarks.ledger.load import LedgerLoad
from infrastructure.database.migrate import migrate
from infrastructure.embedded.servers import EmbeddedServers, EmbeddedSettings
from infrastructure.process.clock_ids import SystemClock
from infrastructure.process.garbage import collect_seldom
from infrastructure.proofs.checkpoints.service import CheckpointService
from infrastructure.proofs.checkpoints.settings import CheckpointSettings
from infrastructure.proofs.checkpoints.signing_key import SigningKey
from infrastructure.proofs.verify.verification import verify
from infrastructure.read_models.rebuild.rebuild import rebuild
from infrastructure.read_models.rebuild.shadow_tables import ReplayBounds
from infrastructure.relay.settings import ProjectionSettings
from tests.support.servers import DatabaseUrls, fresh_database

_CALLERS = 128
_WITHOUT = """
DROP TRIGGER ledger_events_chain ON ledger.ledger_events;
DROP TRIGGER ledger_events_lock ON ledger.ledger_events
"""


@dataclass(frozen=True)
class _Measured:
    """rate: settlements a second. processor_us: of one of them, with the hold before it."""

    rate: float
    processor_us: float


async def measure(
    servers: EmbeddedServers, folder: Path, *, rounds: int, commands: int, verifying: bool = True
) -> list[Figure]:
    """verifying: also how fast the log that the settlements have made is verified."""
    with_chain = fresh_database(servers, "bench_chained")
    without = fresh_database(servers, "bench_plain")
    for urls in (with_chain, without):
        migrate(urls.owner, urls.service)
    with psycopg.connect(without.owner, autocommit=True) as connection:
        connection.execute(_WITHOUT.encode())
    chained, plain = await _settlements(servers, folder, (with_chain, without), rounds, commands)
    conditions = f"{_CALLERS} callers, {commands} commands a round, fsync on"
    both = list(zip(chained, plain, strict=True))
    figures = [
        of_repeats(
            "Settlement with chain and checkpoints", "/s", [x.rate for x in chained], conditions
        ),
        of_repeats("Settlement without", "/s", [x.rate for x in plain], conditions),
        of_repeats(
            "Settlement with / without",
            "×",
            [one.rate / other.rate for one, other in both],
            "round by round, the order changes",
            Goal(bound=0.9, at_least=True),
        ),
        # On a busy machine, rates depend more on the other work than on this.
        of_repeats(
            "Processor time of a settlement, with / without",
            "×",
            [one.processor_us / other.processor_us for one, other in both],
            f"service and PostgreSQL together, without it"
            f" {median([x.processor_us for x in plain]):.0f} µs",
            Goal(bound=1.1),
        ),
    ]
    if verifying:
        figures += await _verified(servers, with_chain, folder, max(1, rounds // 4))
    return figures


def _settings(folder: Path) -> CheckpointSettings:
    """A checkpoint every second: ten times as often as in the service."""
    return CheckpointSettings(
        folder=folder / "checkpoints",
        interval_s=1.0,
        connections=ProjectionSettings(stream="bench"),
    )


def _service(servers: EmbeddedServers, url: str, folder: Path) -> CheckpointService:
    key = SigningKey.from_file(folder / "key.pem")
    return CheckpointService(url, servers.nats_url, _settings(folder), key, SystemClock())


async def _settlements(
    servers: EmbeddedServers,
    folder: Path,
    databases: Sequence[DatabaseUrls],
    rounds: int,
    commands: int,
) -> tuple[list[_Measured], list[_Measured]]:
    loads = [LedgerLoad(urls.service) for urls in databases]
    users = [await load.users(commands) for load in loads]
    for load, people in zip(loads, users, strict=True):
        await load.settlements(people, 32)  # connections, prepared statements
    collect_seldom()
    found: tuple[list[_Measured], list[_Measured]] = ([], [])
    async with _service(servers, databases[0].service, folder).running():
        for number in range(rounds):
            for which in (0, 1) if number % 2 else (1, 0):
                began_s = processor_s()
                measured = await loads[which].settlements(users[which], _CALLERS)
                if which == 0:
                    await _signed(databases[0].service)
                seconds = processor_s() - began_s
                found[which].append(_Measured(measured.rate, 1e6 * seconds / commands))
    for load in loads:
        await load.close()
    return found


async def _signed(url: str) -> None:
    """Returns when a checkpoint covers the log."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        while True:
            cursor = await connection.execute(
                "SELECT (SELECT max(position) FROM ledger.links)"
                " = (SELECT max(position) FROM ledger.checkpoints)"
            )
            if await cursor.fetchone() == (True,):
                return
            await asyncio.sleep(0.1)


def processor_s() -> float:
    """Processor time of this process and of its children, which are the servers."""
    me = psutil.Process()
    seconds = 0.0
    for process in (me, *me.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds += times.user + times.system
    return seconds


async def _verified(
    servers: EmbeddedServers, urls: DatabaseUrls, folder: Path, rounds: int
) -> list[Figure]:
    """Only walking the log has a goal; folding streams is left to the domain's functions."""
    keys = [SigningKey.from_file(folder / "key.pem").public]
    await rebuild([], urls.service, lambda _done: None, macs=EVENT_MACS)
    rates: dict[str, list[float]] = {"log": [], "MACs": [], "read models": []}
    events = 0
    for _ in range(rounds):
        began = time.perf_counter()
        parts = await verify(
            urls.service,
            servers.nats_read_url,
            _settings(folder),
            keys,
            LEDGER_KEYS,
            on_progress=lambda _part, _done: None,
            bounds=ReplayBounds(processes=os.cpu_count() or 1),
        )
        seconds = time.perf_counter() - began
        assert not any(part.findings.count for part in parts), parts
        named = {part.name: part for part in parts}
        events = named["log"].checked
        for name in ("log", "MACs"):
            rates[name].append(named[name].checked / named[name].seconds)
            seconds -= named[name].seconds
        rates["read models"].append(events / seconds)
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    conditions = f"{events:,} events; {memory_mb:.0f} MB at most in the whole benchmark"
    return [
        of_repeats(
            "Verifying log, chain and checkpoints",
            "events/s",
            rates["log"],
            conditions,
            Goal(bound=100_000, at_least=True),
        ),
        of_repeats("Folding every stream", "events/s", rates["MACs"], "a process a core"),
        of_repeats(
            "Comparing every read model",
            "events/s",
            rates["read models"],
            "made anew in shadow tables, then compared",
        ),
    ]


def run(*, rounds: int, commands: int, verifying: bool) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="chatledger-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as another user, who needs to enter.
        settings = EmbeddedSettings(
            data_dir=folder / "data", postgres_connections_max=120, nats_stream="*"
        )
        with EmbeddedServers.start(settings, lambda _text: None) as servers:
            return asyncio.run(
                measure(servers, folder, rounds=rounds, commands=commands, verifying=verifying)
            )


def main() -> None:
    """`python -m benchmarks.ledger.chain`: the price of the proofs."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--commands", type=int, default=4000, help="in a round")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    print(json.dumps(machine.describe()))
    print(table(run(rounds=options.rounds, commands=options.commands, verifying=True)))


if __name__ == "__main__":
    main()
