"""Many prepared statements in one transaction and one round trip.

psycopg's own pipeline waits in the event loop at every statement, which cost a batch of ten
statements some ten milliseconds beside busy threads; here everything is sent at once and waited
for once. libpq's pipeline mode makes all statements up to its sync point one implicit
transaction (PostgreSQL's documentation, "Pipeline Mode").
"""

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any

from psycopg import AsyncConnection, Error
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus

# Its text, with $1, $2 … for its parameters, and those as texts.
SqlStatement = tuple[bytes, Sequence[bytes]]

# Several pipelines may take turns on one connection, so no name is used twice.
_numbers = count()
_FAILED = (ExecStatus.FATAL_ERROR, ExecStatus.BAD_RESPONSE, ExecStatus.NONFATAL_ERROR)


class StatementPipeline:
    """connection: in autocommit, and used by nobody else meanwhile. There must be few different
    texts of statements: each is prepared once and kept."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        assert connection.autocommit
        self._connection = connection
        self._prepared: dict[bytes, bytes] = {}

    async def run(self, statements: Sequence[SqlStatement]) -> None:
        """Commits all of them or none; where a transaction is open already, they join it. What
        they return is thrown away.

        Raises psycopg.Error. A caller that is cancelled here loses the connection and does not
        know whether the transaction was committed.
        """
        pgconn = self._connection.pgconn
        # A name is kept only once the server has said that the statement is prepared.
        names = dict(self._prepared)
        sent: list[bytes | None] = []
        try:
            pgconn.enter_pipeline_mode()
            for text, parameters in statements:
                if text not in names:
                    names[text] = f"chatledger_{next(_numbers)}".encode()
                    pgconn.send_prepare(names[text], text)
                    sent.append(text)
                pgconn.send_query_prepared(names[text], parameters)
                sent.append(None)
            pgconn.pipeline_sync()
            done, error = await self._results()
            pgconn.exit_pipeline_mode()
        except BaseException:
            pgconn.finish()
            raise
        for prepared in sent[:done]:
            if prepared is not None:
                self._prepared[prepared] = names[prepared]
        if error is not None:
            raise error

    async def _results(self) -> tuple[int, Error | None]:
        """How many commands succeeded before the first failure, and that failure."""
        pgconn = self._connection.pgconn
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        done, error = 0, None
        unsent = pgconn.flush() == 1
        # The number is kept here, because a lost connection no longer knows it. If the loop were
        # not told to forget it, it would never read from the next socket that gets this number.
        socket = pgconn.socket
        loop.add_reader(socket, ready.set)
        if unsent:
            loop.add_writer(socket, ready.set)
        try:
            while True:
                await ready.wait()
                ready.clear()
                pgconn.consume_input()
                if unsent and pgconn.flush() == 0:
                    unsent = False
                    loop.remove_writer(socket)
                while not pgconn.is_busy():
                    result = pgconn.get_result()
                    if result is None:
                        continue  # between two commands
                    if result.status == ExecStatus.PIPELINE_SYNC:
                        return done, error
                    if error is None and result.status in _FAILED:
                        error = error_from_result(result)
                    done += error is None
        finally:
            loop.remove_reader(socket)
            if unsent:
                loop.remove_writer(socket)
