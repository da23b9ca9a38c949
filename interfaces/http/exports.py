"""Exports: whole lists, sent while they are read. An export holds one page in memory and ends
within its time limit; one that breaks off never looks complete."""

import asyncio
import csv
import io
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from uuid import UUID

import structlog
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from application.read_models import ReadModelsUnavailable
from interfaces.http.head import HEAD
from interfaces.http.problems import RateLimited

log = structlog.get_logger()

# Few, so that the event loop serves others in between.
EXPORT_PAGE_ROWS = 200
_RETRY_AFTER_S = 5


class ExportLimits:
    """per_user_max: how many exports of one user go on at once. In the memory of one process."""

    def __init__(self, *, per_user_max: int, timeout_s: float) -> None:
        self._per_user_max = per_user_max
        self._under_way: Counter[UUID] = Counter()
        self.timeout_s = timeout_s

    @contextmanager
    def one(self, user_id: UUID) -> Iterator[None]:
        """Raises RateLimited."""
        if self._under_way[user_id] >= self._per_user_max:
            raise RateLimited(
                f"{self._per_user_max} exports are under way; wait until one of them has ended",
                {"Retry-After": str(_RETRY_AFTER_S)},
            )
        self._under_way[user_id] += 1
        try:
            yield
        finally:
            self._under_way[user_id] -= 1
            if not self._under_way[user_id]:
                del self._under_way[user_id]


class CsvExport(StreamingResponse):
    """A download of unknown length. When it cannot go on, the connection ends without the end of
    the content (RFC 9112, section 7.1), so that no client takes a part for the whole."""

    def __init__(
        self,
        pages: AsyncIterator[bytes],
        *,
        limits: ExportLimits,
        owner: UUID,
        file_name: str,
        headers: dict[str, str],
    ) -> None:
        super().__init__(
            pages,
            headers={
                "Content-Disposition": f'attachment; filename="{file_name}"',
                "Cache-Control": "no-store",
                **headers,
            },
            media_type="text/csv; charset=utf-8",
        )
        self._limits = limits
        self._owner = owner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def send_noting(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        with self._limits.one(self._owner):
            if HEAD in scope:
                self.body_iterator = _nothing()
            try:
                async with asyncio.timeout(self._limits.timeout_s):
                    await super().__call__(scope, receive, send_noting)
            except (ReadModelsUnavailable, TimeoutError) as error:
                if not has_begun:
                    raise
                log.warning("export_broken_off", user_id=str(self._owner), reason=repr(error))


def csv_lines(rows: Iterable[Iterable[str]]) -> bytes:
    """RFC 4180."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
