"""Writes the rows that many events were folded into, by COPY."""

from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection
from psycopg.errors import DataError, IntegrityError

from infrastructure.read_models.rebuild.stretch import Folded, Part
from infrastructure.read_models.statement_pipeline import StatementPipeline


class NotWritten(Exception):
    """The stretch cannot be written as it was folded. Nothing of it was written."""


class BulkWriter:
    """connection: in autocommit or in a transaction; nobody else uses it meanwhile."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection
        self._pipeline = StatementPipeline(connection)

    async def write(self, folded: Folded) -> None:
        """Writes all of it or nothing. Raises NotWritten, psycopg.Error."""
        if folded.parts is None:
            raise NotWritten
        try:
            async with self._connection.transaction():
                await self._write(folded.parts)
        except (IntegrityError, DataError) as error:
            # A row that should be new was there already, or the log holds events that are not ours.
            raise NotWritten from error

    async def _write(self, parts: Sequence[Part]) -> None:
        for part in parts:
            if part.changes:
                await self._pipeline.run(part.changes)
            async with self._connection.cursor() as cursor:
                for copy in part.copies:
                    async with cursor.copy(copy.statement) as stream:
                        await stream.write(copy.body)
