"""A proxy between the service and PostgreSQL that a test can cut: for good, for a while, or just
when the answer to a COMMIT comes back."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

_COMMITTED = b"COMMIT\x00"


class DatabaseProxy:
    """url: the database's, by way of this proxy."""

    def __init__(self, database_url: str) -> None:
        parts = urlsplit(database_url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        account = parts.netloc.rpartition("@")[0]
        self.url = urlunsplit(parts._replace(netloc=f"{account}@127.0.0.1:{port}"))
        self.commit_lost = threading.Event()
        self._cut_at_commit = False
        self._is_cut = False
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def cut(self) -> None:
        """Every connection breaks, and new ones break at once."""
        with self._lock:
            self._is_cut = True
            for end in self._sockets:
                _break(end)

    def restore(self) -> None:
        with self._lock:
            self._is_cut = False

    def cut_at_next_commit(self) -> None:
        """The next COMMIT is carried out, but nobody hears of it, and no connection works
        from then on."""
        with self._lock:
            self._cut_at_commit = True

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cut()
        _break(self._listener)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
        for end in self._sockets:
            end.close()

    def _start(self, work: object, *ends: socket.socket) -> None:
        thread = threading.Thread(target=work, args=ends, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                near.close()
                continue
            far = socket.create_connection(self._target)
            with self._lock:
                self._sockets |= {near, far}
            self._start(self._pump, near, far)
            self._start(self._pump_answers, far, near)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        _break(source)
        _break(sink)

    def _pump_answers(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self._cut_at_commit and _COMMITTED in data:
                    self._cut_at_commit = False
                    self.cut()
                    self.commit_lost.set()
                    break
                sink.sendall(data)
        _break(source)
        _break(sink)


def _break(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
