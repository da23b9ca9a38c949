"""An ASGI app on a port of this process, for as long as a test needs it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from tests.support.ports import free_port

__all__ = ["free_port", "serving"]

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0


class _Server(uvicorn.Server):
    """A server that tells when it listens, and that ends even while streams are open."""

    def __init__(self, build: Callable[[], Any], port: int) -> None:
        super().__init__(
            uvicorn.Config(
                build,
                factory=True,
                host="127.0.0.1",
                port=port,
                log_level="critical",
                timeout_graceful_shutdown=1,
            )
        )


@contextmanager
def serving(build: Callable[[], Any], port: int) -> Iterator[None]:
    """``build`` makes the app inside the server's own event loop."""
    server = _Server(build, port)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not server.started:
            assert thread.is_alive(), "the server ended at its start"
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join(STOP_TIMEOUT_S)
        assert not thread.is_alive(), "the server does not stop"
