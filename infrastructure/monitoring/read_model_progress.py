"""Whether the read models follow the log, whichever process writes them.

The projector of this process may be in reserve, and anybody with the service's role can hold the
leader's lock or change the positions. So the positions in the database are compared with the log.
"""

import time
from collections.abc import Callable

import psycopg

from application.read_models import ReadModelsUnavailable
from infrastructure.process.condition import describe
from infrastructure.read_models.queries import PostgresReadModels

# A projector sets a position to that of an event in the log, so in one snapshot none is beyond the
# log's end.
_PROGRESS = """
SELECT coalesce(min(position), 0), coalesce(max(position), 0),
       coalesce((SELECT max(notification_id) FROM ledger.ledger_events), 0)
FROM read.positions
"""
# Far longer than a batch takes, and than another process needs to take over.
_STANDS_STILL_S = 30.0


class ReadModelProgress:
    """clock: seconds that never go back."""

    def __init__(
        self, read_models: PostgresReadModels, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read_models = read_models
        self._clock = clock
        self._seen: tuple[int, float] | None = None

    async def trouble(self) -> str | None:
        """Why the read models do not follow the log; None where they do. Does not raise."""
        try:
            ((first, last, head),) = await self._read_models.rows(_PROGRESS, ())
        except (psycopg.Error, ReadModelsUnavailable) as error:
            return describe(error)
        if last > head:
            return (
                f"their positions say that they hold the log up to {last}, but it ends at {head}:"
                " somebody has moved read.positions; see docs/audit.md, Read models stand still"
            )
        now_s = self._clock()
        if first == head:
            self._seen = None
        elif self._seen is None or self._seen[0] != first:
            self._seen = (first, now_s)
        elif now_s - self._seen[1] >= _STANDS_STILL_S:
            return (
                f"they have stood still at position {first} for {now_s - self._seen[1]:.0f} s, and"
                f" the log is at {head}; see docs/audit.md, Read models stand still"
            )
        return None
