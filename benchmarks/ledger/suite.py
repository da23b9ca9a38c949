"""The disk under the ledger, and how far the read models are behind it."""

import argparse
import asyncio
import json
import logging
import os
import tempfile
import time
from pathlib import Path

import structlog

from benchmarks import machine
from benchmarks.figures import Figure, Goal, of_repeats, percentile, table
from benchmarks.ledger import chain, settlement_floor, speed
from benchmarks.ledger.lag_probe import measure_lag
from infrastructure.database.migrate import migrate
from infrastructure.embedded.servers import EmbeddedServers, EmbeddedSettings

LAG_P99_MS_MAX = Goal(bound=20)
LAG_COMMANDS_PER_S = 500
_FLUSHES = 200
_PAGE_BYTES = 8192


def flush_latency(folder: Path) -> list[Figure]:
    """One page of 8 kB written and fdatasync'ed: no commit can be faster."""
    latencies_ms: list[float] = []
    page = os.urandom(_PAGE_BYTES)
    path = folder / "flush"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        # Into space that is allocated already, as PostgreSQL's log does.
        os.write(descriptor, bytes(_PAGE_BYTES * _FLUSHES))
        os.fsync(descriptor)
        for number in range(_FLUSHES):
            began = time.perf_counter()
            os.pwrite(descriptor, page, number * _PAGE_BYTES)
            os.fdatasync(descriptor)
            latencies_ms.append((time.perf_counter() - began) * 1000)
    finally:
        os.close(descriptor)
        path.unlink()
    return [
        of_repeats(
            "Floor: one flush of the disk",
            "ms",
            latencies_ms,
            f"8 kB, fdatasync; p99 {percentile(latencies_ms, 99):.2f} ms; a message has two",
        )
    ]


def read_model_lag(folder: Path, *, commands_per_s: float, seconds: float) -> list[Figure]:
    data = folder / "lag"
    data.mkdir()
    settings = EmbeddedSettings(data_dir=data, nats_stream="*")
    with EmbeddedServers.start(settings, lambda _text: None) as servers:
        migrate(servers.owner_database_url, servers.service_database_url, connect_timeout_s=5)
        lag = asyncio.run(
            measure_lag(
                servers.service_database_url,
                servers.nats_url,
                commands_per_s,
                seconds,
                nats_read_url=servers.nats_read_url,
            )
        )
    conditions = (
        f"{lag.commands:,} commands of 2 events at {lag.commands_per_s:.0f}/s;"
        f" from the commit's return to committed rows; highest {lag.max_ms:.1f} ms"
    )
    what = "Commit to read model"
    return [
        Figure(what=f"{what}, p50", unit="ms", value=lag.p50_ms, conditions=conditions),
        Figure(
            what=f"{what}, p99",
            unit="ms",
            value=lag.p99_ms,
            conditions="the same",
            goal=LAG_P99_MS_MAX,
        ),
    ]


def main() -> None:
    """`python -m benchmarks.ledger.suite`: the ledger compared with what it is built on."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--commands", type=int, default=4000, help="in a round")
    parser.add_argument("--log-sizes", type=int, default=3, choices=(1, 2, 3))
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    print(json.dumps(machine.describe()))
    figures = asyncio.run(settlement_floor.measure(turns=options.rounds * 4))
    figures += speed.run(
        rounds=options.rounds, commands=options.commands, log_sizes=options.log_sizes
    )
    figures += chain.run(rounds=options.rounds, commands=options.commands, verifying=False)
    with tempfile.TemporaryDirectory(prefix="chatledger-bench-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user, who needs to enter.
        figures += read_model_lag(Path(folder), commands_per_s=LAG_COMMANDS_PER_S, seconds=10)
    print(table(figures))


if __name__ == "__main__":
    main()
