"""docs/settings.md and .env.example, written from the settings themselves:
`python -m interfaces.cli.settings_docs`. A test compares both with the code."""

from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from infrastructure.settings import Settings

DOCS = Path("docs/settings.md")
EXAMPLE = Path(".env.example")

_INTRODUCTION = """# Settings

Every setting is an environment variable, or a line of a file `.env` in the folder the service is
started from; the environment wins. The command line's flags win over both. A setting that cannot
be used stops the start with one sentence that names it.

`ENVIRONMENT=production` refuses to start with the embedded servers, with a secret that is missing
or short, with a database role that may do more than the service needs
([servers.md](servers.md)), and with an administrator who still has the development password. It
also turns `POST /billing/add` off, logs JSON, and marks the chat page's cookie Secure, so that the
page has to be reached over HTTPS.

| setting | default | what it is |
|---|---|---|
"""


def render_docs() -> str:
    rows = [
        f"| `{name.upper()}` | {_code(_default(field.default))} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return _INTRODUCTION + "\n".join(rows) + "\n"


def render_example() -> str:
    lines = ["# Copy to .env and change what you need; docs/settings.md explains each.", ""]
    for name, field in Settings.model_fields.items():
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
