"""`chatledger start`: from nothing to a service that answers, saying what it does."""

import argparse
import errno
import signal
import socket
import sys
from types import FrameType

from interfaces.cli.options import settings_from
from interfaces.cli.refusals import CannotStart

GEMMA_TERMS = (
    "Gemma is provided under and subject to the Gemma Terms of Use found at"
    " ai.google.dev/gemma/terms"
)


def start(options: argparse.Namespace) -> int:
    """Raises CannotStart, SettingsError, EmbeddedServerError, PreparationError."""
    from infrastructure.logs import configure_logs

    settings = settings_from(options)
    level = "DEBUG" if settings.debug else settings.log_level
    configure_logs(level=level, as_json=settings.is_production)
    signal.signal(signal.SIGTERM, _interrupt)
    if options.mode == "ui":
        from interfaces.cli.serve_page import serve_page

        check_port_free(settings.host, settings.ui_port, "UI_PORT")
        return serve_page(settings)

    from interfaces.cli.serve import serve

    check_port_free(settings.host, settings.port, "PORT")
    if options.mode == "all":
        check_port_free(settings.host, settings.ui_port, "UI_PORT")
    return serve(settings, with_page=options.mode == "all", skip_init=options.skip_init)


def say(text: str) -> None:
    """Progress for the person who started the service; standard output is theirs, logs are not."""
    print(text, flush=True)


def check_port_free(host: str, port: int, setting: str) -> None:
    """Raises CannotStart."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the server itself will do, so that a port in TIME_WAIT counts as free.
        if sys.platform != "win32":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                raise CannotStart(
                    f"{host} is no address of this machine ({error.strerror}); set HOST to one,"
                    " such as 127.0.0.1, or 0.0.0.0 for all"
                ) from None
            raise CannotStart(
                f"{host}:{port} cannot be used ({error.strerror}); stop what uses it or set"
                f" {setting} to another port"
            ) from None


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
