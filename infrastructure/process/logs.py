"""The log of the process, one line for each event: JSON in production, readable text elsewhere.
Secrets stay out: passwords are cut out of URLs, and fields whose names sound like secrets lose
their values."""

import logging
import re
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog

_SECRET_NAMES = re.compile(r"password|secret|token|authorization|cookie|api_key", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(\w+://[^\s:/@]+):[^\s@]+@")
# NATS takes a token in place of a user's name.
_URL_TOKEN = re.compile(r"\b(nats|tls|wss?)://[^\s:/@]+@")
_CONNINFO_PASSWORD = re.compile(r"\b(password|passwd|token)=\S+", re.IGNORECASE)


def _without_secrets(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for name, value in event.items():
        event[name] = _cleaned(name, value)
    return event


def _cleaned(name: object, value: Any) -> Any:
    # A number is a count, such as of tokens, and no secret.
    if _SECRET_NAMES.search(str(name)) and not isinstance(value, int | float):
        return "***"
    match value:
        case str():
            value = _URL_PASSWORD.sub(r"\1:***@", value)
            value = _URL_TOKEN.sub(r"\1://***@", value)
            return _CONNINFO_PASSWORD.sub(r"\1=***", value)
        case dict():
            return {inner: _cleaned(inner, item) for inner, item in value.items()}
        case list() | tuple():
            return [_cleaned("", item) for item in value]
        case _:
            return value


class _StandardError:
    """Whatever sys.stderr is at the time. A line that cannot be written, because the terminal was
    closed or the disk is full, must not fail the command that logs it."""

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()


def configure_logs(*, level: str, as_json: bool) -> None:
    """For the whole process; the standard library's loggers go the same way."""
    output = cast(TextIO, _StandardError())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _without_secrets,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        logger_factory=structlog.PrintLoggerFactory(output),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # The service logs requests itself, with their ids and without their query strings.
    for name in ("uvicorn.access", "httpx", "httpcore", "nats", "psycopg.pool"):
        logging.getLogger(name).setLevel(logging.ERROR)
