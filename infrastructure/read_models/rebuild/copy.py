"""Writes the rows of many events at once: what they were folded to, by COPY."""

from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection
from psycopg.errors import DataError, IntegrityError

from infrastructure.read_models.rebuild.stretch import Folded, Part
from infrastructure.read_models.statement_pipeline import StatementPipeline


class NotWritten(Exception):
    """The stretch's changes cannot be written as they were folded; nothing of it was written."""


class BulkWriter:
    """For one connection in autocommit, or in a transaction, that nobody else uses meanwhile."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection
        self._pipeline = StatementPipeline(connection)

    async def write(self, folded: Folded) -> None:
        """All of it or nothing. Raises NotWritten, psycopg.Error."""
        if folded.parts is None:
            raise NotWritten
        try:
            async with self._connection.transaction():
                await self._write(folded.parts)
        except (IntegrityError, DataError) as error:
            # A row that was made anew was there already, or the log holds what is not ours.
            raise NotWritten from error

    async def _write(self, parts: Sequence[Part]) -> None:
        for part in parts:
            if part.changes:
                await self._pipeline.run(part.changes)
            async with self._connection.cursor() as cursor:
                for copy in part.copies:
                    async with cursor.copy(copy.statement) as stream:
                        await stream.write(copy.body)
