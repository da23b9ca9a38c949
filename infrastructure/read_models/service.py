"""Relay and projector as one service of a process."""

import asyncio
from dataclasses import dataclass
from functools import partial

from application.ledger.keys import LedgerKeys
from infrastructure.process.condition import Condition, State
from infrastructure.process.tasks import cancel_until_done
from infrastructure.read_models.position_board import PositionBoard
from infrastructure.read_models.projector import Projector
from infrastructure.read_models.writer import read_projected
from infrastructure.relay.inbox import Inbox
from infrastructure.relay.relay import Relay
from infrastructure.relay.settings import ProjectionSettings
from infrastructure.relay.subscription import Subscription
from projections.registry import PROJECTIONS


@dataclass(frozen=True, kw_only=True)
class PartStatus:
    """last_error: of the latest failure, even when all is well again."""

    state: State
    last_error: str | None


@dataclass(frozen=True, kw_only=True)
class ProjectionStatus:
    """stream_position: the position of the last event that this process's relay has published; 0
    where another process's relay does the work. positions: what each projection holds; empty where
    another process's projector does the work. forged_messages: how many were received;
    last_forgery: what was wrong with the last one."""

    relay: PartStatus
    subscription: PartStatus
    projector: PartStatus
    stream_position: int
    positions: dict[str, int]
    forged_messages: int
    last_forgery: str | None


class ProjectionService:
    """Neither start() nor stop() needs any server to be there: what is away is waited for. Any
    number of processes may run one for the same database; one of them does the work.

    board: where queries of this process wait for their position. keys: of the ledger; they prove
    events and messages. nats_read_url: the URL of a user who may only read; where it is empty,
    nats_url is used.
    """

    def __init__(
        self,
        service_url: str,
        nats_url: str,
        settings: ProjectionSettings,
        board: PositionBoard | None = None,
        *,
        keys: LedgerKeys,
        nats_read_url: str = "",
    ) -> None:
        self.board = board or PositionBoard()
        inbox = Inbox(events_max=settings.inbox_events_max)
        names = [projection.name for projection in PROJECTIONS]
        read_up_to = partial(read_projected, names=names)
        self._relay = Relay(service_url, nats_url, settings, keys, read_up_to)
        self._subscription = Subscription(nats_read_url or nats_url, settings, inbox)
        self._projector = Projector(
            service_url,
            settings,
            inbox=inbox,
            subscription=self._subscription,
            board=self.board,
            keys=keys,
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        assert not self._tasks, "started once"
        self._tasks = [
            asyncio.create_task(part.run(), name=type(part).__name__)
            for part in (self._relay, self._subscription, self._projector)
        ]

    async def stop(self) -> None:
        """What is being written is either finished or rolled back first."""
        tasks, self._tasks = self._tasks, []
        await cancel_until_done(tasks)

    def status(self) -> ProjectionStatus:
        return ProjectionStatus(
            relay=_part(self._relay.condition),
            subscription=_part(self._subscription.condition),
            projector=_part(self._projector.condition),
            stream_position=self._relay.position,
            positions=dict(self._projector.positions),
            forged_messages=self._subscription.forgeries.count,
            last_forgery=self._subscription.forgeries.last,
        )


def _part(condition: Condition) -> PartStatus:
    return PartStatus(state=condition.state, last_error=condition.last_error)
