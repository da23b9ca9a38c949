"""The ledger compared with what it is built on, in one run and on one server, fsync on."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from uuid import UUID

import psycopg

from application.ledger.streams import ACCOUNT
from benchmarks.figures import Figure, Goal, of_repeats, percentile
from benchmarks.ledger.load import LedgerLoad, Round
from benchmarks.ledger.peers import (
    GroupCommit,
    StockRecorder,
    make_peers_table,
    pgbench_rate,
)
from domain.identifiers import account_id
from infrastructure.database.migrate import migrate
from infrastructure.embedded.servers import EmbeddedServers, EmbeddedSettings
from infrastructure.process.garbage import collect_seldom
from tests.support.servers import fresh_database

CALLERS = (8, 32, 128)
_GOALS_P = {8: ("p50", 50, Goal(bound=5)), 128: ("p99", 99, Goal(bound=40))}
_LOG_SIZES = (10_000, 100_000, 1_000_000)
_LONG_STREAM = 100_000
_FILL = """
INSERT INTO ledger.ledger_events (originator_id, originator_version, topic, state)
SELECT gen_random_uuid(), 1, 'account.credits_debited', decode(repeat('7b', %s), 'hex')
FROM generate_series(1, %s)
"""


@contextmanager
def servers(folder: Path) -> Iterator[EmbeddedServers]:
    settings = EmbeddedSettings(data_dir=folder / "data", postgres_connections_max=120)
    with EmbeddedServers.start(settings, lambda _text: None) as started:
        migrate(started.owner_database_url, started.service_database_url, connect_timeout_s=5)
        yield started


def measure(folder: Path, *, rounds: int, commands: int, log_sizes: int) -> list[Figure]:
    """rounds: of each of those compared, in turn. commands: in a round of the ledger."""
    with servers(folder) as started:
        url = started.service_database_url
        make_peers_table(started.owner_database_url)
        figures = asyncio.run(_throughput(url, folder, rounds, commands))
        figures += asyncio.run(_long_stream(url, rounds))
        figures += asyncio.run(_growing_log(started, _LOG_SIZES[:log_sizes], rounds, commands))
    return figures


async def _throughput(url: str, folder: Path, rounds: int, commands: int) -> list[Figure]:
    load, alone, stock = LedgerLoad(url), GroupCommit(url), StockRecorder(url, 32)
    users = await load.users(commands)
    hot = (await load.users(1))[0]
    ledger: dict[int, list[Round]] = {callers: [] for callers in CALLERS}
    hot_rounds: list[Round] = []
    alone_rates, stock_rates, pgbench_rates = [], [], []
    await load.settlements(users, 32)  # connections, prepared statements
    collect_seldom()  # as the service does when it has started
    for _ in range(rounds):
        pgbench_rates.append(
            await asyncio.to_thread(pgbench_rate, url, folder, clients=32, seconds=2)
        )
        for callers in CALLERS:
            # For the same precision, eight callers need fewer settlements than a hundred.
            some = users if callers > 8 else users[: commands // 4]
            ledger[callers].append(await load.settlements(some, callers))
        hot_rounds.append(await load.one_account(hot, callers=32, each=commands // 32))
        alone_rates.append(await alone.rate(128, commands * 2 // 128))
        stock_rates.append(await asyncio.to_thread(stock.rate, max(1, commands // 10 // 32)))
    await load.close()
    alone.close()
    stock.close()
    pgbench, stocked = median(pgbench_rates), median(stock_rates)
    figures = [
        of_repeats(
            "pgbench, 32 clients, two-row insert", "/s", pgbench_rates, "prepared, no table lock"
        ),
        of_repeats("Stock recorder, 32 threads", "/s", stock_rates, "two ready-made events"),
        of_repeats("Group commit alone, 128 callers", "/s", alone_rates, "two ready-made events"),
        _ratio("Group commit alone / pgbench", median(alone_rates), pgbench, None),
    ]
    for callers in CALLERS:
        figures += _settlement_figures(callers, ledger[callers])
    best = median([measured.rate for measured in ledger[128]])
    figures += [
        _ratio("Settlement, 128 callers / pgbench", best, pgbench, Goal(bound=1.3, at_least=True)),
        _ratio(
            "Settlement, 128 callers / stock recorder",
            best,
            stocked,
            Goal(bound=20, at_least=True),
        ),
        of_repeats(
            "One hot account, 32 callers",
            "/s",
            [measured.rate for measured in hot_rounds],
            "corrections, each built on the one before",
            Goal(bound=3000, at_least=True),
        ),
    ]
    return figures


def _settlement_figures(callers: int, rounds: list[Round]) -> list[Figure]:
    what = f"Settlement, {callers} callers"
    conditions = "capture and response, two streams, application layer"
    latencies_ms = [latency for measured in rounds for latency in measured.latencies_ms]
    figures = [of_repeats(what, "/s", [measured.rate for measured in rounds], conditions)]
    for name, percent in (("p50", 50), ("p99", 99)):
        goal = _GOALS_P.get(callers)
        figures.append(
            Figure(
                what=f"{what}, {name}",
                unit="ms",
                value=percentile(latencies_ms, percent),
                conditions=f"{len(latencies_ms)} commands",
                goal=goal[2] if goal is not None and goal[0] == name else None,
            )
        )
    return figures


def _ratio(what: str, value: float, base: float, goal: Goal | None) -> Figure:
    return Figure(
        what=what, unit="×", value=value / base, conditions="medians of this run", goal=goal
    )


async def _long_stream(url: str, rounds: int) -> list[Figure]:
    load = LedgerLoad(url)
    short, long = await load.users(2)
    await load.grow(short, 8)
    await load.grow(long, _LONG_STREAM - 2)
    await load.close()
    cold = LedgerLoad(url)
    loads_ms: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(20 * rounds):
        for is_long, user in ((False, short), (True, long)):
            began = time.perf_counter()
            state = cold.application.load(ACCOUNT, account_id(user))
            loads_ms[is_long].append((time.perf_counter() - began) * 1000)
            assert state is not None
            assert state.version == (_LONG_STREAM if is_long else 10)
    await cold.close()
    return [
        of_repeats("Loading an account of 10 events", "ms", loads_ms[False], "not in memory"),
        of_repeats("Loading an account of 100,000 events", "ms", loads_ms[True], "not in memory"),
        _ratio(
            "Loading 100,000 events / 10 events",
            median(loads_ms[True]),
            median(loads_ms[False]),
            Goal(bound=1.5),
        ),
    ]


async def _growing_log(
    servers: EmbeddedServers, sizes: tuple[int, ...], rounds: int, commands: int
) -> list[Figure]:
    """A log of each size, measured in turn, so that other work on the machine affects all of them
    alike."""
    loads: dict[int, LedgerLoad] = {}
    users: dict[int, list[UUID]] = {}
    costs_us: dict[int, list[float]] = {size: [] for size in sizes}
    for size in sizes:
        urls = fresh_database(servers, f"log_of_{size}")
        migrate(urls.owner, urls.service)
        loads[size] = LedgerLoad(urls.service)
        users[size] = await loads[size].users(commands)
        await loads[size].settlements(users[size], 32)
        _fill(urls.owner, size)
    with psycopg.connect(servers.superuser_url, autocommit=True) as connection:
        # Otherwise the rounds would pay for writing what was filled in before.
        connection.execute("CHECKPOINT")
    collect_seldom()
    for number in range(rounds):
        for size in sizes if number % 2 else sizes[::-1]:
            measured = await loads[size].settlements(users[size], 32)
            costs_us[size].append(1e6 / measured.rate)
    for load in loads.values():
        await load.close()
    figures = [
        of_repeats(f"A command at {size:,} events", "µs", costs_us[size], "32 callers")
        for size in sizes
    ]
    last, first = costs_us[sizes[-1]], costs_us[sizes[0]]
    figures.append(
        of_repeats(
            f"A command at {sizes[-1]:,} / at {sizes[0]:,} events",
            "×",
            [one / other for one, other in zip(last, first, strict=True)],
            "round by round, the order changes",
            Goal(bound=1.2),
        )
    )
    return figures


def _fill(owner_url: str, size: int) -> None:
    """Up to this many events, all written to disk, so that none of that work is measured."""
    with psycopg.connect(owner_url, autocommit=True) as connection:
        row = connection.execute("SELECT count(*) FROM ledger.ledger_events").fetchone()
        assert row is not None
        if row[0] < size:
            connection.execute(_FILL, (680, size - row[0]))
        connection.execute("VACUUM (ANALYZE) ledger.ledger_events")


def run(*, rounds: int, commands: int, log_sizes: int) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="chatledger-bench-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user, who needs to enter.
        return measure(Path(folder), rounds=rounds, commands=commands, log_sizes=log_sizes)
