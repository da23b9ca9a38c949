"""What the ledger is compared with, on the same server: the library's recorder as it is, our
recorder without the application above it, and PostgreSQL's own benchmark."""

import asyncio
import os
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg.conninfo import conninfo_to_dict

from application.ledger.commits import Commit
from benchmarks.keys import LEDGER_KEYS
from infrastructure.embedded.programs import postgres_install, postgres_libraries
from infrastructure.event_store.recorder import LedgerRecorder, open_application
from infrastructure.process.clock_ids import TimeOrderedIds

# A table for these alone: the columns and indexes of the log, but no triggers and so no chain.
PEERS_SCHEMA = "peers"
_PEERS_TABLE = """
CREATE SCHEMA IF NOT EXISTS peers;
CREATE TYPE peers.stored_event_uuid AS (
    originator_id uuid, originator_version bigint, topic text, state bytea
);
CREATE TABLE peers.ledger_events (LIKE ledger.ledger_events INCLUDING ALL);
GRANT USAGE ON SCHEMA peers TO PUBLIC;
GRANT ALL ON peers.ledger_events TO PUBLIC;
"""
# As large as the two events of a settlement.
STATE_BYTES = 680
_STATE = b"{" + b"x" * (STATE_BYTES - 2) + b"}"
_TOPICS = ("account.credits_debited", "conversation.response_generated")


def make_peers_table(owner_url: str) -> None:
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(_PEERS_TABLE)


def two_events(ids: TimeOrderedIds) -> list[StoredEvent]:
    return [
        StoredEvent(originator_id=ids.new_id(), originator_version=1, topic=topic, state=_STATE)
        for topic in _TOPICS
    ]


class StockRecorder:
    """The library's recorder, which locks and flushes for every command; one thread a caller."""

    def __init__(self, service_url: str, threads: int) -> None:
        parts = conninfo_to_dict(service_url)
        self._datastore = PostgresDatastore(
            dbname=str(parts["dbname"]),
            host=str(parts["host"]),
            port=str(parts["port"]),
            user=str(parts["user"]),
            password=str(parts["password"]),
            schema=PEERS_SCHEMA,
            pool_size=threads,
        )
        self._recorder = PostgresApplicationRecorder(
            self._datastore, events_table_name="ledger_events"
        )
        self._threads = threads
        self._executor = ThreadPoolExecutor(threads)
        self._ids = TimeOrderedIds()

    def rate(self, each: int) -> float:
        def worker(_: int) -> None:
            for _ in range(each):
                self._recorder.insert_events(two_events(self._ids))

        began = time.perf_counter()
        list(self._executor.map(worker, range(self._threads)))
        return self._threads * each / (time.perf_counter() - began)

    def close(self) -> None:
        self._executor.shutdown()
        self._datastore.close()


class GroupCommit:
    """Our recorder alone: two ready-made events for each command, nothing decided."""

    def __init__(self, service_url: str) -> None:
        self._application = open_application(
            service_url, LEDGER_KEYS, threads=2, connect_timeout_s=5, cached_streams_max=1
        )
        self._ids = TimeOrderedIds()

    async def rate(self, callers: int, each: int) -> float:
        recorder = self._application.recorder
        assert isinstance(recorder, LedgerRecorder)
        queue = recorder.commit_queue()

        async def caller() -> None:
            for _ in range(each):
                commit = Commit(two_events(self._ids))
                queue.submit(commit)
                assert await commit.wait_stored(), commit.error

        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(callers)))
        return callers * each / (time.perf_counter() - began)

    def close(self) -> None:
        recorder = self._application.recorder
        assert isinstance(recorder, LedgerRecorder)
        recorder.stop()
        self._application.close()


_SCRIPT = f"""
INSERT INTO {PEERS_SCHEMA}.ledger_events (originator_id, originator_version, topic, state) VALUES
 (gen_random_uuid(), 1, '{_TOPICS[0]}', '\\x{_STATE.hex()}'),
 (gen_random_uuid(), 1, '{_TOPICS[1]}', '\\x{_STATE.hex()}');
"""


def pgbench_rate(service_url: str, folder: Path, *, clients: int, seconds: int) -> float:
    """Transactions per second of pgbench. Each inserts two rows as large as a settlement's by one
    prepared statement, without locking the table."""
    script = folder / "two_rows.sql"
    script.write_text(_SCRIPT)
    install = postgres_install()
    parts = conninfo_to_dict(service_url)
    command = [str(install / "bin" / "pgbench"), "--no-vacuum", "--protocol=prepared"]
    command += [f"--client={clients}", "--jobs=2", f"--time={seconds}", f"--file={script}"]
    command += ["-h", str(parts["host"]), "-p", str(parts["port"]), "-U", str(parts["user"])]
    environment = {
        "PATH": os.environ["PATH"],
        "PGPASSWORD": str(parts["password"]),
        "LD_LIBRARY_PATH": str(postgres_libraries(install)),
    }
    done = subprocess.run(
        [*command, str(parts["dbname"])],
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=False,
    )
    found = re.search(r"^tps = ([0-9.]+)", done.stdout, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"pgbench failed: {done.stderr}")
    return float(found[1])
