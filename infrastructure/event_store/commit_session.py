"""A session that stores batches of commits: a connection with its statements prepared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import pq
from psycopg.sql import SQL, Identifier

from infrastructure.event_store import commit_sql
from infrastructure.event_store.commit_connection import (
    CommitConnection,
    ConnectionLost,
    Results,
    Send,
)

_BINARY = pq.Format.BINARY
_BEGIN, _LOCK, _INSERT, _NOTIFY, _COMMIT, _ROLLBACK, _FIND = (
    *(b"begin", b"lock", b"insert", b"notify", b"commit", b"rollback", b"find"),
)
_FAILED = (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE)


@dataclass(frozen=True, slots=True)
class Stored:
    """positions: of all events that were stored, in order. first_taken: for each tie (as in
    `commit_sql.ties_of`) in which a commit met another writer's events, the number of the first one
    that did; it and the later commits of the tie were left out."""

    positions: list[int]
    first_taken: dict[int, int]


@dataclass(frozen=True, slots=True)
class Rejected:
    """Nothing was stored. sqlstate: of the error, five characters."""

    sqlstate: str
    message: str


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """url, parameters: of the connection, as for psycopg.connect. channel: the one that every
    commit notifies."""

    url: str
    parameters: Mapping[str, Any]
    schema: str
    table: str
    channel: str
    connect_timeout_s: float
    result_timeout_s: float


class CommitSession:
    def __init__(self, connection: CommitConnection, backend: tuple[bytes, bytes]) -> None:
        """Use `open`. backend: process id and start of the server process, to end it by."""
        self._connection = connection
        self._must_roll_back = False
        self.backend = backend

    @classmethod
    async def open(cls, options: SessionOptions) -> "CommitSession":
        """Raises ConnectionLost."""
        lock_timeout_ms = int(options.result_timeout_s * 500)
        connection = await CommitConnection.open(
            options.url,
            options.parameters,
            # Plans must not depend on statistics that lag behind a growing table.
            setup="SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan;"
            f" SET lock_timeout = {lock_timeout_ms};"
            # A role may change its own defaults, and a commit that is not on disk can be lost.
            " SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') = 'off';"
            f" SET idle_in_transaction_session_timeout = {2 * lock_timeout_ms}",
            connect_timeout_s=options.connect_timeout_s,
            result_timeout_s=options.result_timeout_s,
        )
        table = Identifier(options.schema, options.table)
        lock = SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(table).as_bytes(None)
        notify = SQL("NOTIFY {}").format(Identifier(options.channel)).as_bytes(None)
        insert = commit_sql.insert_statement(options.schema, options.table)
        find = commit_sql.find_statement(options.schema, options.table)
        try:
            results = await connection.ask(
                _prepare(_BEGIN, b"BEGIN"),
                _prepare(_LOCK, lock),
                _prepare(_INSERT, insert, commit_sql.INSERT_TYPES),
                _prepare(_NOTIFY, notify),
                _prepare(_COMMIT, b"COMMIT"),
                _prepare(_ROLLBACK, b"ROLLBACK"),
                _prepare(_FIND, find, commit_sql.FIND_TYPES),
                _query(
                    b"SELECT pid::text, backend_start::text FROM pg_stat_activity"
                    b" WHERE pid = pg_backend_pid()"
                ),
            )
            _check(results)
        except BaseException:
            connection.close()
            raise
        pid, started = results[-1].get_value(0, 0), results[-1].get_value(0, 1)
        assert pid is not None
        assert started is not None
        return cls(connection, (pid, started))

    @property
    def is_open(self) -> bool:
        return self._connection.is_open

    def close(self) -> None:
        self._connection.close()

    def store(
        self,
        parameters: list[bytes],
        on_outcome: Callable[[Stored | Rejected | ConnectionLost], None],
    ) -> None:
        """Store a batch in one transaction. After ConnectionLost it may have happened or not."""
        sends = [_BEGIN_SEND, _LOCK_SEND, _execute(_INSERT, parameters), _NOTIFY_SEND, _COMMIT_SEND]
        if self._must_roll_back:
            sends.insert(0, _ROLLBACK_SEND)
            self._must_roll_back = False

        def take(results: Results | ConnectionLost) -> None:
            on_outcome(results if isinstance(results, ConnectionLost) else self._outcome(results))

        self._connection.exchange(sends, take)

    async def end(self, backend: tuple[bytes, bytes]) -> None:
        """Returns when that other server process has ended: from then on it stores nothing more.
        Raises ConnectionLost."""
        results = await self._connection.ask(
            _query(
                b"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                b" WHERE pid = $1::text::int AND backend_start::text = $2",
                *backend,
            )
        )
        _check(results)
        if results[0].ntuples and results[0].get_value(0, 0) != b"t":
            raise ConnectionLost("the server process of the lost connection does not end")

    async def find(self, rows: Sequence[commit_sql.Row]) -> list[int | None]:
        """The position of each row that is stored exactly as given. Raises ConnectionLost."""
        results = await self._connection.ask(_execute(_FIND, commit_sql.find_parameters(rows)))
        _check(results)
        return commit_sql.decode_found(results[0], rows)

    def _outcome(self, results: Results) -> Stored | Rejected:
        for result in results:
            if result.status in _FAILED:
                self._must_roll_back = True
                sqlstate = result.error_field(pq.DiagnosticField.SQLSTATE) or b"XX000"
                message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b""
                return Rejected(sqlstate.decode(), message.decode(errors="replace"))
        inserted = next(result for result in results if result.ntuples)
        positions = commit_sql.decode_longs(inserted.get_value(0, 0))
        ties = commit_sql.decode_ints(inserted.get_value(0, 1))
        firsts = commit_sql.decode_ints(inserted.get_value(0, 2))
        return Stored(positions, dict(zip(ties, firsts, strict=True)))


def _prepare(name: bytes, command: bytes, types: Sequence[int] = ()) -> Send:
    return lambda pgconn: pgconn.send_prepare(name, command, types or None)


def _execute(name: bytes, parameters: list[bytes] | None = None) -> Send:
    formats = [_BINARY] * len(parameters) if parameters else None
    return lambda pgconn: pgconn.send_query_prepared(name, parameters, formats, _BINARY)


def _query(command: bytes, *parameters: bytes) -> Send:
    return lambda pgconn: pgconn.send_query_params(command, list(parameters) or None)


def _check(results: Results) -> None:
    for result in results:
        if result.status in _FAILED:
            raise ConnectionLost(result.get_error_message())


_BEGIN_SEND, _LOCK_SEND, _NOTIFY_SEND, _COMMIT_SEND, _ROLLBACK_SEND = (
    _execute(name) for name in (_BEGIN, _LOCK, _NOTIFY, _COMMIT, _ROLLBACK)
)
