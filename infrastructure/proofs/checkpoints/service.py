"""The signer and the publisher as one background service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from application.ports import Clock
from infrastructure.process.condition import Condition
from infrastructure.process.tasks import cancel_until_done
from infrastructure.proofs.checkpoints.publisher import CheckpointPublisher
from infrastructure.proofs.checkpoints.settings import CheckpointSettings
from infrastructure.proofs.checkpoints.signer import Signer
from infrastructure.proofs.checkpoints.signing_key import SigningKey


class CheckpointService:
    """Neither start() nor stop() needs a server to be up. Any number of processes may run one for
    the same database; only one of them does the work."""

    def __init__(
        self,
        service_url: str,
        nats_url: str,
        settings: CheckpointSettings,
        key: SigningKey,
        clock: Clock,
    ) -> None:
        self._signer = Signer(service_url, settings, key, clock)
        self._publisher = CheckpointPublisher(service_url, nats_url, settings, key.public)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def signer(self) -> Condition:
        return self._signer.condition

    @property
    def publisher(self) -> Condition:
        return self._publisher.condition

    async def start(self) -> None:
        assert not self._tasks, "started once"
        self._tasks = [
            asyncio.create_task(part.run(), name=type(part).__name__)
            for part in (self._signer, self._publisher)
        ]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.start()
        try:
            yield
        finally:
            await self.stop()

    async def stop(self) -> None:
        tasks, self._tasks = self._tasks, []
        await cancel_until_done(tasks)
