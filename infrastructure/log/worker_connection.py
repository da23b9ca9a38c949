"""What a worker on the whole log begins with: a connection of its own."""

from typing import Any

import psycopg


class LogWorker:
    """A `worker_pool.Worker`. Raises psycopg.OperationalError where it cannot connect."""

    def __init__(self, service_url: str, name: str, connect_timeout_s: int) -> None:
        self.connection: psycopg.Connection[Any] = psycopg.connect(
            service_url,
            autocommit=True,
            application_name=name,
            connect_timeout=connect_timeout_s,
        )
        # Each piece of work finds the MACs of its own events by key. A hash of all that lie beside
        # an old log would be made for each piece anew.
        self.connection.execute("SET enable_hashjoin = off")
        self.connection.execute("SET enable_mergejoin = off")

    def close(self) -> None:
        self.connection.close()
