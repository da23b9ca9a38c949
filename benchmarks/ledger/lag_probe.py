"""How long after its commit an event is in the read models, under a steady load of commands."""

import argparse
import asyncio
import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from application.ledger.commits import Commit
from application.ledger.event_store import LedgerApplication
from benchmarks.keys import LEDGER_KEYS
from domain.accounts.events import AccountOpened, Balance, CreditsDebited, CreditsHeld
from domain.events import Event, header
from domain.identifiers import NAMESPACE, account_id
from domain.pricing.price import per_message
from infrastructure.event_store.recorder import open_application
from infrastructure.process.garbage import collect_seldom
from infrastructure.read_models.position_board import PositionBoard
from infrastructure.read_models.service import ProjectionService
from infrastructure.relay.settings import ProjectionSettings


@dataclass(frozen=True, kw_only=True)
class Lag:
    """Milliseconds from the commit's return to the announcement that its rows are committed."""

    commands: int
    commands_per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float


class _StampedBoard(PositionBoard):
    """Remembers when each position was announced."""

    def __init__(self) -> None:
        super().__init__()
        self.announced: list[tuple[int, float]] = []

    def announce(self, position: int) -> None:
        super().announce(position)
        self.announced.append((position, time.perf_counter()))


class _Commands:
    """Commits of two events each, as one message makes them, for one account after the other,
    through the service's group commit."""

    def __init__(self, application: LedgerApplication, accounts: int) -> None:
        self._to_stored_event = application.mapper.to_stored_event
        self._recorder = application.commit_recorder
        self._run = uuid5(NAMESPACE, f"lag:{os.urandom(8).hex()}")
        self._users = [uuid5(self._run, str(number)) for number in range(accounts)]
        self._versions = dict.fromkeys(self._users, 1)
        for user in self._users:
            opened = AccountOpened(**header(account_id(user), 1, _NOW), user_id=user)
            application.save(opened)

    async def commit(self, number: int) -> tuple[int, float]:
        """Position and time of one commit."""
        user = self._users[number % len(self._users)]
        version = self._versions[user]
        self._versions[user] = version + 2
        events = _events(self._run, user, version, number)
        commit = Commit([self._to_stored_event(event) for event in events])
        self._recorder.commit_queue().submit(commit)
        assert await commit.wait_stored(), commit.error
        assert commit.positions is not None
        return commit.positions[-1], time.perf_counter()


_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _events(run: UUID, user: UUID, version: int, number: int) -> Sequence[Event]:
    message, hold = uuid5(run, f"message:{number}"), uuid5(run, f"hold:{number}")
    balance = Balance(paid_micro=1_000_000, promotional_micro=0, held_micro=0)
    held = CreditsHeld(
        **header(account_id(user), version + 1, _NOW),
        user_id=user,
        balance=balance,
        hold_id=hold,
        amount_micro=2_000_000,
        shares=(),
        expires_at=_NOW + timedelta(minutes=10),
        message_id=message,
        conversation_id=run,
    )
    debited = CreditsDebited(
        **header(account_id(user), version + 2, _NOW),
        user_id=user,
        balance=balance,
        hold_id=hold,
        amount_micro=2_000_000,
        released_micro=0,
        shares=(),
        message_id=message,
        conversation_id=run,
        model="gemma3-270m",
        price=per_message(2_000_000),
        prompt_tokens=40,
        completion_tokens=60,
    )
    return held, debited


async def measure_lag(
    service_url: str,
    nats_url: str,
    commands_per_s: float,
    seconds: float,
    *,
    nats_read_url: str = "",
) -> Lag:
    """Relay and projector work in the process that commits, as in the service. The database must
    be migrated. nats_read_url: the URL of a user who may only read; where it is empty, nats_url is
    used."""
    board = _StampedBoard()
    service = ProjectionService(
        service_url,
        nats_url,
        ProjectionSettings(stream=f"lag_{os.urandom(4).hex()}"),
        board,
        keys=LEDGER_KEYS,
        nats_read_url=nats_read_url,
    )
    application = open_application(
        service_url, LEDGER_KEYS, threads=2, connect_timeout_s=5, cached_streams_max=10
    )
    commands = _Commands(application, accounts=100)
    await service.start()
    try:
        await _warm_up(board, commands)
        collect_seldom()  # as the service does when it has started
        commits = await _load(commands, commands_per_s, round(commands_per_s * seconds))
        if not await board.wait_for(commits[-1][0], timeout_s=30):
            raise TimeoutError("the read models did not keep up")
    finally:
        await service.stop()
        application.commit_recorder.stop()
        application.close()
    lags_ms = _lags_ms(commits, board.announced)
    taken_s = commits[-1][1] - commits[0][1]
    return Lag(
        commands=len(commits),
        commands_per_s=round((len(commits) - 1) / taken_s, 1),
        p50_ms=_percentile(lags_ms, 50),
        p99_ms=_percentile(lags_ms, 99),
        max_ms=_percentile(lags_ms, 100),
    )


async def _warm_up(board: _StampedBoard, commands: _Commands) -> None:
    """Until the parts are connected and the statements prepared."""
    for number in range(-20, 0):
        position, _ = await commands.commit(number)
        await board.wait_for(position, timeout_s=10)


async def _load(commands: _Commands, commands_per_s: float, count: int) -> list[tuple[int, float]]:
    """Starts commands at even intervals, whether or not earlier ones are answered."""
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    tasks = []
    for number in range(count):
        await asyncio.sleep(max(0.0, start_s + number / commands_per_s - loop.time()))
        tasks.append(asyncio.create_task(commands.commit(number)))
    return sorted(await asyncio.gather(*tasks))


def _lags_ms(
    commits: Sequence[tuple[int, float]], announced: Sequence[tuple[int, float]]
) -> list[float]:
    lags_ms = []
    places = iter(announced)
    position, at_s = next(places)
    for committed, committed_s in commits:
        while position < committed:
            position, at_s = next(places)
        lags_ms.append(max(0.0, (at_s - committed_s) * 1000))
    return sorted(lags_ms)


def _percentile(ordered: Sequence[float], percent: float) -> float:
    return round(ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)], 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("service_url")
    parser.add_argument("nats_url")
    parser.add_argument("--commands-per-s", type=float, default=500)
    parser.add_argument("--seconds", type=float, default=10)
    given = parser.parse_args()
    lag = asyncio.run(
        measure_lag(given.service_url, given.nats_url, given.commands_per_s, given.seconds)
    )
    print(json.dumps(vars(lag)))


if __name__ == "__main__":
    main()
