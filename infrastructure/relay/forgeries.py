"""Messages in NATS that this ledger did not write: counted, and said now and then."""

import time
from collections.abc import Callable

import structlog

log = structlog.get_logger()

# Whoever can publish could fill the disk with our log.
_SAID_S_MIN = 60.0


class Forgeries:
    """count: since the process started. last: what was wrong with the last one."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.count = 0
        self.last: str | None = None
        self._clock_s = clock_s
        self._said_at = float("-inf")

    def add(self, reason: str) -> None:
        self.count += 1
        self.last = reason
        now = self._clock_s()
        if now - self._said_at >= _SAID_S_MIN:
            self._said_at = now
            log.warning(
                "forged_message_refused",
                reason=reason,
                count=self.count,
                advice="somebody else can publish to the stream of events; give the users of"
                " NATS_URL and NATS_READ_URL new passwords. Balances are read from PostgreSQL",
            )
