"""The chat page as a process of its own: a client of the API over HTTP, and nothing else."""

import subprocess
import sys
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from infrastructure.secrets.files import secret_from
from infrastructure.settings.page import host_names
from infrastructure.settings.reachability import is_local
from infrastructure.settings.service import Settings
from interfaces.ui.client.settings import UiSettings
from interfaces.web.connections import ConnectionLimits
from interfaces.web.visitor_address import visitor_key

_STOP_TIMEOUT_S = 10


def api_url(settings: Settings) -> str:
    if settings.api_url:
        return settings.api_url
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "") else settings.host  # noqa: S104
    bracketed = f"[{host}]" if ":" in host else host
    return f"http://{bracketed}:{settings.port}"


def docs_url(settings: Settings) -> str:
    """Where the visitors' browsers find the API's documentation; empty where the API is known by
    an address of this machine alone, and they are elsewhere."""
    url = api_url(settings)
    if is_local(urlsplit(url).hostname or "") and not settings.is_for_this_machine:
        return ""
    return url.rstrip("/") + "/docs"


def connection_limits(settings: Settings) -> ConnectionLimits:
    return ConnectionLimits(
        header_timeout_s=settings.header_timeout_s,
        body_timeout_s=settings.body_timeout_s,
        send_timeout_s=settings.send_timeout_s,
        keep_alive_timeout_s=settings.keep_alive_timeout_s,
        bytes_per_s_min=settings.client_bytes_per_s_min,
        body_bytes_max=settings.request_body_bytes_max,
        connections_max=settings.connections_max,
        connections_per_address_max=settings.connections_per_address_max,
        trusted_proxies=settings.trusted_networks,
    )


# The names by which a browser on this machine may reach the page. Under any other name it was led
# here by somebody else (DNS rebinding).
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


def page_hosts(settings: Settings) -> tuple[str, ...]:
    """The names that the page answers to; empty: any."""
    names = host_names(settings.page_hosts)
    if names or not settings.is_for_this_machine:
        return names
    own = f"[{settings.host}]" if ":" in settings.host else settings.host
    return tuple(dict.fromkeys((*_LOOPBACK_NAMES, own)))


def ui_settings(settings: Settings) -> UiSettings:
    """Raises OSError when the secret can be neither read nor made."""
    secret = secret_from(settings.secret_key.get_secret_value(), settings.data_dir / "secret_key")
    return UiSettings(
        api_url=api_url(settings),
        docs_url=docs_url(settings),
        host=settings.host,
        port=settings.ui_port,
        hosts=page_hosts(settings),
        cookie_secret=secret,
        visitor_key=visitor_key(secret),
        secure_cookie=settings.is_production,
        tabs_max=settings.page_tabs_max,
        tabs_per_person_max=settings.page_tabs_per_person_max,
        anonymous_tabs_max=settings.page_anonymous_tabs_max,
        tabs_per_address_max=settings.page_tabs_per_address_max,
    )


def serve_page(settings: Settings) -> int:
    from interfaces.ui.app import run_ui

    run_ui(ui_settings(settings), connection_limits(settings))
    return 0


class PageProcess:
    """The page as a process beside the API. Its standard input is a pipe from this process, and it
    ends when the pipe does, however this process ends."""

    def __init__(self, settings: Settings) -> None:
        self._command = [
            sys.executable,
            "-m",
            "interfaces.cli.page_child",
            *("--host", settings.host),
            *("--ui-port", str(settings.ui_port)),
            *("--api-url", api_url(settings)),
            *("--data-dir", str(settings.data_dir)),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def __enter__(self) -> Self:
        # In a session of its own, so that Ctrl-C reaches only the API, which then stops the page.
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            self._command, stdin=subprocess.PIPE, start_new_session=True
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
