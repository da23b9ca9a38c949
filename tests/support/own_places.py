"""Keeps the tests off what a service in the next terminal uses: its ports, its settings and its
data folder.

An audit hook (PEP 578) sees every socket, file and process of the tests' own process, so nobody
has to remember this.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infrastructure.settings.service import Settings

ROOT = Path(__file__).parents[2]
# The API's, the chat page's, and those of servers that an operator may run.
DEFAULT_PORTS = frozenset(
    {Settings.model_fields["port"].default, Settings.model_fields["ui_port"].default, 5432, 4222}
)
_DATA = str(ROOT / "data")
_ALLOWED = str(ROOT / "data" / "test-models")
_SETTINGS = ".env"
# What the hook gets as dir_fd where no folder was given.
_THIS_FOLDER = -1
_PROGRAMS = ("interfaces.cli.main", "interfaces.cli.page_child", "chatledger", "startup.py")


class NotOurs(AssertionError):
    """A test would touch what a running service uses."""


def keep_to_own_places() -> None:
    """Watches for as long as this process lives."""
    sys.addaudithook(_watch)


def _watch(event: str, values: tuple[Any, ...]) -> None:
    match event:
        case "socket.bind" | "socket.connect":
            address = values[1]
            if isinstance(address, tuple) and address[1] in DEFAULT_PORTS:
                raise NotOurs(f"{address} is the default of something; use free_port()")
        case "os.remove" | "os.rmdir" if values[1] != _THIS_FOLDER:
            pass  # relative to another open folder, as when pytest clears its own
        case "open" | "os.mkdir" | "os.rename" | "os.remove" | "os.rmdir":
            if isinstance(values[0], str):
                _check_path(values[0])
        case "subprocess.Popen":
            _check_command([str(part) for part in values[1]], values[2], values[3])


def _check_path(path: str) -> None:
    # A plain name may be relative to another open folder, which the hook is not told.
    if path.startswith(("data" + os.sep, _DATA + os.sep)) or path.endswith(_SETTINGS):
        whole = os.path.abspath(path)  # noqa: PTH100 - pathlib opens files itself on some platforms
        is_data = whole.startswith(_DATA + os.sep) and not whole.startswith(_ALLOWED)
        if is_data or whole == str(ROOT / _SETTINGS):
            raise NotOurs(f"{path} belongs to the service that somebody runs here; use tmp_path")


def _check_command(
    command: Sequence[str], folder: object, environment: Mapping[Any, Any] | None
) -> None:
    if not any(part.rpartition("/")[2] in _PROGRAMS for part in command[:4]):
        return
    given = {os.fsdecode(name) for name in (os.environ if environment is None else environment)}
    needed = {"DATA_DIR": "--data-dir"}
    if "start" in command:
        needed |= {"PORT": "--port", "UI_PORT": "--ui-port"}
    for setting, flag in needed.items():
        if setting not in given and flag not in command:
            raise NotOurs(f"{' '.join(command)} would use the default of {setting}; give another")
    if Path.cwd() == ROOT if folder is None else Path(str(folder)).resolve() == ROOT:
        raise NotOurs(f"{' '.join(command)} would read the {_SETTINGS} of the repository; give cwd")
