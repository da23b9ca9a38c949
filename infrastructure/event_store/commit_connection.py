"""A connection that carries one exchange at a time, without a thread and without a task.

An exchange is a pipeline of statements, which are sent together and whose results are taken
together, so the server never waits for us while it holds a lock. psycopg opens the connection;
after that this file uses psycopg's `pq` layer directly, because a coroutine for each read and write
costs more than the exchange itself.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import pq

# A statement to send: called with the connection.
Send = Callable[[pq.abc.PGconn], None]
Results = Sequence[pq.abc.PGresult]


class ConnectionLost(Exception):
    """The connection broke, or gave no result in time. What was sent may have been carried out."""


class CommitConnection:
    """Use `open`."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], result_timeout_s: float) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._result_timeout_s = result_timeout_s
        self._loop = asyncio.get_running_loop()
        self._socket = self._pgconn.socket
        self._results: list[pq.abc.PGresult] = []
        self._on_results: Callable[[Results | ConnectionLost], None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._is_writing = False
        self.is_open = True
        self._pgconn.nonblocking = 1
        self._pgconn.enter_pipeline_mode()
        self._loop.add_reader(self._socket, self._read)

    @classmethod
    async def open(
        cls,
        url: str,
        parameters: Mapping[str, Any],
        *,
        setup: str,
        connect_timeout_s: float,
        result_timeout_s: float,
    ) -> "CommitConnection":
        """setup: statements for the new session. Raises ConnectionLost."""
        connection: psycopg.AsyncConnection[Any] | None = None
        try:
            async with asyncio.timeout(connect_timeout_s):
                connection = await psycopg.AsyncConnection.connect(
                    url, **parameters, autocommit=True
                )
                await connection.execute(setup.encode())
                return cls(connection, result_timeout_s)
        except BaseException as error:
            if connection is not None:
                connection.pgconn.finish()
            if isinstance(error, (psycopg.Error, TimeoutError, OSError)):
                raise ConnectionLost(f"cannot connect: {error}") from error
            raise

    async def ask(self, *sends: Send) -> Results:
        """Raises ConnectionLost."""
        arrived: asyncio.Future[Results | ConnectionLost] = self._loop.create_future()

        def take(results: Results | ConnectionLost) -> None:
            if not arrived.done():
                arrived.set_result(results)

        self.exchange(sends, take)
        results = await arrived
        if isinstance(results, ConnectionLost):
            raise results
        return results

    def exchange(
        self, sends: Sequence[Send], on_results: Callable[[Results | ConnectionLost], None]
    ) -> None:
        """Send the statements now; `on_results` gets their results, or ConnectionLost, later."""
        assert self._on_results is None, "one exchange at a time"
        if not self.is_open:
            self._loop.call_soon(on_results, ConnectionLost("the connection was lost before"))
            return
        self._on_results = on_results
        self._results = []
        self._deadline = self._loop.call_later(self._result_timeout_s, self._give_up)
        try:
            for send in sends:
                send(self._pgconn)
            self._pgconn.pipeline_sync()
            self._flush()
        except psycopg.Error as error:
            # Reported in the next turn of the loop, like every other result.
            self._loop.call_soon(self._lose, str(error))

    def close(self) -> None:
        """Whoever waits for results gets ConnectionLost."""
        self._lose("closed")

    def _flush(self) -> None:
        if self._pgconn.flush():
            if not self._is_writing:
                self._is_writing = True
                self._loop.add_writer(self._socket, self._write)
        elif self._is_writing:
            self._is_writing = False
            self._loop.remove_writer(self._socket)

    def _write(self) -> None:
        try:
            self._pgconn.consume_input()
            self._flush()
        except psycopg.Error as error:
            self._lose(str(error))

    def _read(self) -> None:
        try:
            self._pgconn.consume_input()
            if self._is_writing:
                self._flush()
            ended = False
            while not self._pgconn.is_busy():
                result = self._pgconn.get_result()
                if result is None:
                    if ended:
                        return
                    # Between the results of one statement and of the next.
                    ended = True
                    continue
                ended = False
                if result.status == pq.ExecStatus.PIPELINE_SYNC:
                    self._finish()
                    return
                self._results.append(result)
        except psycopg.Error as error:
            self._lose(str(error))

    def _finish(self) -> None:
        on_results, self._on_results = self._on_results, None
        assert on_results is not None
        assert self._deadline is not None
        self._deadline.cancel()
        on_results(self._results)

    def _give_up(self) -> None:
        self._lose(f"no result within {self._result_timeout_s} s")

    def _lose(self, why: str) -> None:
        if not self.is_open:
            return
        self.is_open = False
        if not self._loop.is_closed():
            # libpq has closed the socket already when it found the connection broken.
            with suppress(OSError):
                self._loop.remove_writer(self._socket)
            with suppress(OSError):
                self._loop.remove_reader(self._socket)
        self._pgconn.finish()
        if self._deadline is not None:
            self._deadline.cancel()
        on_results, self._on_results = self._on_results, None
        if on_results is not None:
            on_results(ConnectionLost(why))
