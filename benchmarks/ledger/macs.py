"""What the MACs of events cost a settlement: with and without them, in turn, on one server."""

import argparse
import asyncio
import json
import logging
import tempfile
from pathlib import Path
from statistics import median, quantiles

import structlog

from application.ledger.event_macs import StateMacs
from application.ledger.mapping import EventMapper
from benchmarks import machine
from benchmarks.figures import Figure, Goal, of_repeats, table
from benchmarks.keys import LEDGER_KEYS
from benchmarks.ledger.chain import processor_s
from benchmarks.ledger.load import GENERATED, LedgerLoad
from benchmarks.ledger.settlement_floor import LoadWithoutStore, slice_us
from infrastructure.database.migrate import migrate
from infrastructure.embedded.servers import EmbeddedServers, EmbeddedSettings
from infrastructure.process.garbage import collect_seldom
from tests.support.servers import fresh_database

_CALLERS = 128
_SLICE = 512
_ACCOUNTS = 4 * _SLICE
_MOST = Goal(bound=1.05)


class _NoMacs(StateMacs):
    def __init__(self) -> None:
        super().__init__(LEDGER_KEYS.for_purpose("events"))

    def add(self, stream: bytes, version: int, topic: str, state: bytes) -> bytes:  # noqa: ARG002
        return state

    def doubt(self, stream: bytes, version: int, topic: str, state: bytes) -> None:  # noqa: ARG002
        return None


class _WithoutMacs(EventMapper):
    def __init__(self) -> None:
        super().__init__(LEDGER_KEYS)
        self._event_macs = _NoMacs()


async def measure(servers: EmbeddedServers, *, rounds: int, commands: int) -> list[Figure]:
    loads: list[LedgerLoad] = []
    for name in ("bench_macs", "bench_no_macs"):
        urls = fresh_database(servers, name)
        migrate(urls.owner, urls.service)
        loads.append(LedgerLoad(urls.service))
    loads[1].ledger.to_stored_event = _WithoutMacs().to_stored_event
    loads[1].application.mapper = _WithoutMacs()
    loads[1].application.events.mapper = loads[1].application.mapper
    users = [await load.users(commands) for load in loads]
    for load, people in zip(loads, users, strict=True):
        await load.settlements(people, 32)  # connections, prepared statements
    collect_seldom()
    rates: tuple[list[float], list[float]] = ([], [])
    costs_us: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for which in (0, 1) if number % 2 else (1, 0):
            began_s = processor_s()
            measured = await loads[which].settlements(users[which], _CALLERS)
            rates[which].append(measured.rate)
            costs_us[which].append(1e6 * (processor_s() - began_s) / commands)
    for load in loads:
        await load.close()
    conditions = f"{_CALLERS} callers, {commands} commands a round, fsync on"
    return [
        of_repeats("Settlement with MACs", "/s", rates[0], conditions),
        of_repeats("Settlement without", "/s", rates[1], conditions),
        of_repeats(
            "Settlement without / with MACs",
            "×",
            [without / with_ for with_, without in zip(*rates, strict=True)],
            f"round by round; of the medians {median(rates[1]) / median(rates[0]):.3f}",
            _MOST,
        ),
        of_repeats(
            "Processor time of a settlement, with / without MACs",
            "×",
            [with_ / without for with_, without in zip(*costs_us, strict=True)],
            "service and PostgreSQL together, with the hold before it; without MACs"
            f" {median(costs_us[1]):.0f} µs; of the medians"
            f" {median(costs_us[0]) / median(costs_us[1]):.3f}",
            _MOST,
        ),
    ]


async def measure_python(*, turns: int) -> list[Figure]:
    """A settlement without the database, as `settlement_floor` measures it: in slices, the fastest
    tenth of which is hardly affected by other work on the machine."""
    load = LoadWithoutStore()
    writers = {
        "with": load.ledger.to_stored_event,
        "without": _WithoutMacs().to_stored_event,
    }
    users = await load.users(_ACCOUNTS)
    collect_seldom()
    costs_us: dict[str, list[float]] = {name: [] for name in writers}
    for turn in range(turns):
        for begin in range(0, _ACCOUNTS, _SLICE):
            holds = await load.holds(users[begin : begin + _SLICE])
            half = len(holds) // 2
            halves = (holds[:half], holds[half:])
            for name, some in zip(writers, halves[:: 1 if turn % 2 else -1], strict=True):
                load.ledger.to_stored_event = writers[name]
                cost = await slice_us(lambda one: load.settlement(one).deliver(GENERATED), some)
                costs_us[name].append(cost)
    tenths = {name: quantiles(costs, n=10)[0] for name, costs in costs_us.items()}
    medians = {name: median(costs) for name, costs in costs_us.items()}
    return [
        Figure(
            what="Python of a settlement, with / without MACs",
            unit="×",
            value=tenths["with"] / tenths["without"],
            conditions=f"{tenths['with']:.1f} and {tenths['without']:.1f} µs of processor time,"
            f" fastest tenth of {len(costs_us['with'])} slices each, in turn; of the medians"
            f" {medians['with'] / medians['without']:.3f}; PostgreSQL's part, about as much again,"
            " not included",
        )
    ]


def main() -> None:
    """`python -m benchmarks.ledger.macs`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--commands", type=int, default=4000, help="in a round")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    print(json.dumps(machine.describe()))
    figures = asyncio.run(measure_python(turns=options.rounds * 4))
    with tempfile.TemporaryDirectory(prefix="chatledger-bench-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user, who needs to enter.
        settings = EmbeddedSettings(data_dir=Path(folder) / "data", postgres_connections_max=120)
        with EmbeddedServers.start(settings, lambda _text: None) as servers:
            figures += asyncio.run(
                measure(servers, rounds=options.rounds, commands=options.commands)
            )
    print(table(figures))


if __name__ == "__main__":
    main()
