"""`chatledger start`: checks the settings and the ports, then serves the API, the page, or both."""

import argparse
import errno
import signal
import socket
import sys
from types import FrameType

from interfaces.cli.options import settings_from
from interfaces.cli.refusals import CannotStart


def start(options: argparse.Namespace) -> int:
    """Raises CannotStart, SettingsError, EmbeddedServerError, PreparationError."""
    from infrastructure.process.logs import configure_logs
    from infrastructure.settings.start_checks import check_start

    settings = settings_from(options)
    level = "DEBUG" if settings.debug else settings.log_level
    configure_logs(level=level, as_json=settings.is_production)
    signal.signal(signal.SIGTERM, _interrupt)
    has_api, has_page = options.mode != "ui", options.mode != "api"
    check_start(settings, api=has_api, page=has_page)
    ports = [("PORT", "--port", settings.port)] if has_api else []
    ports += [("UI_PORT", "--ui-port", settings.ui_port)] if has_page else []
    check_ports_free(settings.host, ports)
    if not has_api:
        from interfaces.cli.start.serve_page import serve_page

        return serve_page(settings)

    from interfaces.cli.start.serve import serve

    return serve(settings, with_page=has_page, skip_init=options.skip_init)


def check_ports_free(host: str, ports: list[tuple[str, str, int]]) -> None:
    """ports: setting, flag and number of each. Raises CannotStart with all that are in use."""
    problems = [
        f"{host}:{port} cannot be used ({reason}); stop what uses it, or set {setting} to another"
        f" port ({flag})"
        for setting, flag, port in ports
        if (reason := _in_use(host, port))
    ]
    if problems:
        raise CannotStart("; ".join(problems))


def _in_use(host: str, port: int) -> str | None:
    """Why one of the addresses cannot be bound, each tried as the server itself will do it.

    Raises CannotStart.
    """
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, _, _, address in found:
        try:
            probe = socket.socket(family, kind)
        except OSError:
            continue  # A family that this machine does not have; the server leaves it out, too.
        with probe:
            # A port in TIME_WAIT counts as free.
            if sys.platform != "win32":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind(address)
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL:
                    raise CannotStart(
                        f"{host} is no address of this machine ({error.strerror}); set HOST to one,"
                        " such as 127.0.0.1, or 0.0.0.0 for all"
                    ) from None
                return error.strerror
    return None


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
