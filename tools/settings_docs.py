"""docs/settings.md and .env.example, written from the settings themselves:
`python -m tools.settings_docs`. A test compares both with the code."""

from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from infrastructure.settings.chat import ChatSettings
from infrastructure.settings.identity import IdentitySettings
from infrastructure.settings.inference import InferenceSettings
from infrastructure.settings.network import NetworkSettings
from infrastructure.settings.page import PageSettings
from infrastructure.settings.service import Settings
from infrastructure.settings.storage import StorageSettings

DOCS = Path("docs/settings.md")
EXAMPLE = Path(".env.example")

_INTRODUCTION = """# Settings

For operators: every setting with its default, and what production asks of them.

A setting is an environment variable, or a line of a file `.env` in the folder that the service is
started from; the environment wins. The command line's flags win over both. A setting that cannot
be used stops the start with one sentence that names it.

`ENVIRONMENT=development` and `test` are for one machine. They start on loopback only; a new ledger
has the administrator `admin` with the password `Admin123!`, and anybody who registers may give
themselves credits. On any other address, or behind a proxy, they refuse to start. With
`UNSAFE_DEVELOPMENT_ON_NETWORK=true` they start there all the same; then no administrator is made
(use `chatledger users create-admin`), and the start is refused while one still has that password.

## Running in production

`ENVIRONMENT=production` needs a PostgreSQL and a NATS of your own and two secrets
([servers.md](servers.md#from-nothing-to-production) has every step). It refuses to start, and names
everything that is wrong at once, with

- the embedded servers;
- `SECRET_KEY` or `JWT_SECRET_KEY` missing, shorter than 32 characters, equal, or chosen by hand:
  one letter many times, a row of the keyboard, a sentence. Draw each with
  `python3 -c "import secrets; print(secrets.token_urlsafe(48))"`;
- `BCRYPT_ROUNDS` below 10;
- a connection over a network without TLS to the database, to NATS or (from the page) to the API:
  use `sslmode=verify-full`, `tls://` and `https://`. Sockets and loopback need none. If the network
  itself encrypts, set `ALLOW_PLAIN_TEXT_NETWORK=true`;
- one role for both `DATABASE_URL` and `MIGRATION_DATABASE_URL`, or a role of the service that may
  do more than it needs ([servers.md](servers.md#postgresql) has the commands that make both);
- any administrator who still has the development password.

It also turns `POST /billing/add` off, logs JSON, and marks the chat page's cookie Secure, so that
the page has to be reached over HTTPS. Put a proxy that speaks TLS in front of `PORT` and `UI_PORT`,
leave `HOST` at 127.0.0.1 if the proxy runs on the same machine, and name the proxy in
`TRUSTED_PROXIES`. `X-Forwarded-For` and `X-Forwarded-Proto` count only from a proxy that is named
there; from everybody else, loopback included, they are ignored. The proxy must set both headers
itself, leave `Host` as it is, and pass answers on as they come
([an example](servers.md#the-proxy)). Name a network only if nobody but your proxies is in it:
everybody in it can pretend to be anybody else.

The settings from `HEADER_TIMEOUT_S` to `CONNECTIONS_PER_ADDRESS_MAX` limit clients on both ports
([what happens then](reliability.md#clients-that-keep-things-waiting)). A process may need more open
files than it gets by default; the service asks for them itself and warns if it gets fewer.

## All settings
"""

_PARTS: dict[str, type[BaseSettings]] = {
    "What the service is and where it listens": Settings,
    "Where things are stored": StorageSettings,
    "Messages and what they cost": ChatSettings,
    "Signing in": IdentitySettings,
    "The network and its clients": NetworkSettings,
    "The chat page": PageSettings,
    "Models": InferenceSettings,
}


def parts() -> dict[str, dict[str, FieldInfo]]:
    """The fields of each part, in the order in which they are written down."""
    inherited = {
        name for part in _PARTS.values() if part is not Settings for name in part.model_fields
    }
    return {
        title: {
            name: field
            for name, field in part.model_fields.items()
            if part is not Settings or name not in inherited
        }
        for title, part in _PARTS.items()
    }


def render_docs() -> str:
    lines = [_INTRODUCTION]
    for title, fields in parts().items():
        lines += [f"### {title}", "", "| setting | default | what it is |", "|---|---|---|"]
        lines += [
            f"| `{name.upper()}` | {_code(_default(field.default))} | {field.description} |"
            for name, field in fields.items()
        ]
        lines.append("")
    return "\n".join(lines)


def render_example() -> str:
    lines = ["# Copy to .env and change what you need; docs/settings.md explains each.", ""]
    for title, fields in parts().items():
        lines += [f"# {title}", "# " + "=" * len(title), ""]
        for name, field in fields.items():
            lines += [f"# {field.description}", f"# {name.upper()}={_default(field.default)}", ""]
    return "\n".join(lines)


def _default(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _code(text: str) -> str:
    return f"`{text}`" if text else "empty"


if __name__ == "__main__":
    DOCS.write_text(render_docs(), encoding="utf-8")
    EXAMPLE.write_text(render_example(), encoding="utf-8")
