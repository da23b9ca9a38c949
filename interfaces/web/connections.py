"""Connections of a web server, with bounds on what a client may keep waiting.

uvicorn closes a connection that is idle between two requests, but waits for ever for everything
else: the rest of a header or a body, and a client that does not read its answer. Here a timer looks
at all connections of a server, a few times within the shortest time limit. Every wait for a client
has a time limit, which grows with the bytes that arrive or leave: a slow line is served, a line
that drips is not (as RequestReadTimeout does in Apache).

When their number reaches its bound, connections that wait for their client make room for a new one,
those that have waited longest first (as nginx reuses idle connections). So a client that holds
half-sent requests pushes out its own and shuts nobody out. A new connection is refused only when
all others are at work.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, cast

import h11
import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from interfaces.web.client_address import plain_address, site_of
from interfaces.web.turned_away import REQUEST_TIMEOUT, TOO_MANY_CONNECTIONS

log = structlog.get_logger()

_LOOKS_IN_SHORTEST_TIMEOUT = 4
_LOOK_INTERVAL_S_MAX = 1.0
# When room is needed, one in 16 of the connections that could give way is closed at once, so that
# in a flood they are not sorted again for each new connection.
_SHARE_THAT_MAKES_ROOM = 16
_REPORT_INTERVAL_S = 60.0


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """What clients of one server may hold; docs/settings.md explains each under the same name."""

    header_timeout_s: float = 10.0
    body_timeout_s: float = 20.0
    send_timeout_s: float = 30.0
    keep_alive_timeout_s: float = 20.0
    bytes_per_s_min: int = 4_000
    body_bytes_max: int = 1_000_000
    connections_max: int = 2_000
    connections_per_address_max: int = 300
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()

    @property
    def look_interval_s(self) -> float:
        shortest = min(self.header_timeout_s, self.body_timeout_s, self.send_timeout_s)
        return min(_LOOK_INTERVAL_S_MAX, shortest / _LOOKS_IN_SHORTEST_TIMEOUT)

    def trusts(self, address: str) -> bool:
        if not self.trusted_proxies:
            return False
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self.trusted_proxies)


class Wait(Enum):
    """What a connection waits for that only the client can give."""

    NOTHING = auto()
    NEXT_REQUEST = auto()
    HEADERS = auto()
    BODY = auto()
    READER = auto()


class BoundedConnection(H11Protocol):
    """uvicorn's connection, which also tells what it waits for.

    That is worked out from what uvicorn keeps anyway, at the moment when it is asked, so a request
    costs nothing more.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        connections = getattr(config, "connections", None)
        assert isinstance(connections, Connections)
        self._all = connections
        self.bytes_received = 0
        self.answers_drained = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        if self.client is not None:
            self.client = (plain_address(self.client[0]), self.client[1])
        if not self._all.admit(self):
            self.transport.write(bytes(TOO_MANY_CONNECTIONS))
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.bytes_received += len(data)
        super().data_received(data)

    def resume_writing(self) -> None:
        self.answers_drained += 1
        super().resume_writing()

    @property
    def bytes_to_read(self) -> int:
        """Bytes of answers that the client has not taken yet."""
        return self.transport.get_write_buffer_size()

    def wait(self) -> Wait:
        is_answered = self.cycle is None or self.cycle.response_complete
        is_closing = self.transport.is_closing()
        if self.bytes_to_read and (self.flow.write_paused or is_answered or is_closing):
            return Wait.READER
        if is_closing:
            return Wait.NOTHING
        if self.conn.their_state is h11.SEND_BODY:
            # Reading is paused while the application does not take what has arrived.
            return Wait.NOTHING if self.flow.read_paused else Wait.BODY
        if not is_answered:
            return Wait.NOTHING
        return Wait.HEADERS if self.timeout_keep_alive_task is None else Wait.NEXT_REQUEST

    def give_up(self, wait: Wait) -> None:
        """End a wait that has lasted too long."""
        if wait is Wait.READER:
            self.transport.abort()
            return
        is_answering = self.cycle is not None and self.cycle.response_started
        # Browsers open connections before they have a request, and expect no answer on those.
        has_begun = self.bytes_received if wait is Wait.HEADERS else not is_answering
        if has_begun:
            self.transport.write(bytes(REQUEST_TIMEOUT))
        self.close()

    def close(self) -> None:
        """Close the connection; what the application still sends is dropped."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()


@dataclass
class _Watched:
    """since_s: when the state `seen` was first seen. bytes_then: bytes received, or still to be
    read by the client, at that time."""

    site: str
    since_s: float
    seen: tuple[object, ...]
    bytes_then: int = 0


class Connections:
    """All connections of one server."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._watched: dict[BoundedConnection, _Watched] = {}
        self._by_site: dict[str, dict[BoundedConnection, None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._turned_away = 0
        self._reported_s = float("-inf")

    def __len__(self) -> int:
        return len(self._watched)

    def admit(self, connection: BoundedConnection) -> bool:
        """Whether the connection may stay: there was room, or others have made room."""
        address = "" if connection.client is None else connection.client[0]
        site = site_of(address)
        neighbours = self._by_site.get(site, {})
        limits = self.limits
        if (
            len(neighbours) >= limits.connections_per_address_max
            and not limits.trusts(address)
            and not self._make_room(neighbours)
        ):
            return self._turn_away(address)
        if len(self._watched) >= limits.connections_max and not self._make_room_anywhere():
            return self._turn_away(address)
        now_s = connection.loop.time()
        self._watched[connection] = _Watched(site, now_s, _seen(connection, Wait.HEADERS))
        self._by_site.setdefault(site, {})[connection] = None
        if self._timer is None:
            self._timer = connection.loop.call_later(limits.look_interval_s, self._look)
        return True

    def leave(self, connection: BoundedConnection) -> None:
        watched = self._watched.pop(connection, None)
        if watched is None:
            return
        neighbours = self._by_site[watched.site]
        del neighbours[connection]
        if not neighbours:
            del self._by_site[watched.site]

    def _look(self) -> None:
        self._timer = None
        if not self._watched:
            return
        loop = next(iter(self._watched)).loop
        now_s = loop.time()
        for connection, watched in list(self._watched.items()):
            wait = connection.wait()
            seen = _seen(connection, wait)
            if seen != watched.seen:
                watched.seen, watched.since_s = seen, now_s
                watched.bytes_then = _bytes(connection, wait)
            elif now_s - watched.since_s > self._patience_s(connection, wait, watched):
                connection.give_up(wait)
        self._timer = loop.call_later(self.limits.look_interval_s, self._look)

    def _patience_s(self, connection: BoundedConnection, wait: Wait, watched: _Watched) -> float:
        limits = self.limits
        moved = abs(_bytes(connection, wait) - watched.bytes_then)
        match wait:
            case Wait.HEADERS:
                return limits.header_timeout_s
            case Wait.BODY:
                # The framing of a chunked body must not buy more time than the largest body.
                earned = min(moved, limits.body_bytes_max)
                return limits.body_timeout_s + earned / limits.bytes_per_s_min
            case Wait.READER:
                return limits.send_timeout_s + moved / limits.bytes_per_s_min
            case _:
                return float("inf")

    def _make_room_anywhere(self) -> bool:
        """Sites with most connections make room first."""
        sites = sorted(self._by_site.values(), key=len, reverse=True)
        return any(self._make_room(connections) for connections in sites)

    def _make_room(self, connections: Iterable[BoundedConnection]) -> bool:
        waiting = [
            (self._since_s(connection), number, connection)
            for number, connection in enumerate(connections)
            if connection.wait() is not Wait.NOTHING
        ]
        waiting.sort()
        for _, _, connection in waiting[: 1 + len(waiting) // _SHARE_THAT_MAKES_ROOM]:
            self.leave(connection)
            connection.close()
            connection.transport.abort()
        return bool(waiting)

    def _since_s(self, connection: BoundedConnection) -> float:
        watched = self._watched[connection]
        is_as_seen = watched.seen == _seen(connection, connection.wait())
        return watched.since_s if is_as_seen else connection.loop.time()

    def _turn_away(self, address: str) -> bool:
        self._turned_away += 1
        now_s = asyncio.get_running_loop().time()
        if now_s - self._reported_s >= _REPORT_INTERVAL_S:
            self._reported_s = now_s
            log.warning(
                "connections_turned_away",
                count=self._turned_away,
                last_address=address,
                open=len(self),
                advice="see CONNECTIONS_MAX and CONNECTIONS_PER_ADDRESS_MAX in docs/settings.md",
            )
        return False


def _seen(connection: BoundedConnection, wait: Wait) -> tuple[object, ...]:
    """A value that changes as soon as one wait is over and another has begun."""
    return (wait, connection.cycle, connection.answers_drained)


def _bytes(connection: BoundedConnection, wait: Wait) -> int:
    return connection.bytes_to_read if wait is Wait.READER else connection.bytes_received
