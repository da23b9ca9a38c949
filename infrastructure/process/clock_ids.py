"""The clock and the ids of a running service."""

import secrets
import time
from datetime import UTC, datetime
from uuid import UUID


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251 - the one place that reads the clock


class TimeOrderedIds:
    """UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds, then 74 random bits."""

    def new_id(self) -> UUID:
        milliseconds = time.time_ns() // 1_000_000
        value = (milliseconds & (1 << 48) - 1) << 80 | secrets.randbits(80)
        value = value & ~(0xF << 76) | 0x7 << 76
        value = value & ~(0b11 << 62) | 0b10 << 62
        return UUID(int=value)
