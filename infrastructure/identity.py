"""Clock, ids and passwords, for real."""

import asyncio
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import UUID

import bcrypt


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


class BcryptHasher:
    """bcrypt releases the interpreter lock, so its own threads keep the event loop free."""

    def __init__(self, rounds: int, threads: int = 2) -> None:
        self._rounds = rounds
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="bcrypt")
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        loop = asyncio.get_running_loop()
        salt = bcrypt.gensalt(self._rounds)
        digest = await loop.run_in_executor(self._executor, bcrypt.hashpw, password.encode(), salt)
        return digest.decode()

    async def verify(self, password: str, password_hash: str) -> bool:
        # More than bcrypt reads, or not encodable: never a password that was accepted.
        try:
            encoded = password.encode()
        except UnicodeEncodeError:
            return False
        if len(encoded) > 72 or b"\x00" in encoded:
            return False
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._executor, bcrypt.checkpw, encoded, password_hash.encode()
        )

    async def verify_nobody(self, password: str) -> None:
        if self._nobody is None:
            self._nobody = await self.hash(secrets.token_urlsafe(16))
        await self.verify(password, self._nobody)

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
