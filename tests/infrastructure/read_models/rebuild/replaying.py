"""What tests of rebuilds share."""

from psycopg import AsyncConnection

from infrastructure.log.reader import ReadBounds, read_log
from infrastructure.read_models.rebuild.shadow_tables import ReplayBounds
from infrastructure.read_models.writer import ProjectionWriter
from projections.registry import PROJECTIONS
from tests.support.keys import EVENT_MACS

SMALL = ReplayBounds(events_max=40)
SMALL_READ = ReadBounds(events_max=40)


class Watched:
    def __init__(self) -> None:
        self.fractions: list[float] = []

    def __call__(self, fraction: float) -> None:
        self.fractions.append(fraction)


async def project(service_url: str, events_max: int = 40) -> None:
    """Projects the whole log, as the live projector does."""
    async with await AsyncConnection.connect(service_url, autocommit=True) as connection:
        writer = await ProjectionWriter.open(connection, PROJECTIONS, EVENT_MACS)
        bounds = ReadBounds(events_max=events_max)
        while events := await read_log(connection, after=writer.position, bounds=bounds):
            await writer.write(events)
