"""The suite runs beside a running service."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.own_places import DEFAULT_PORTS, ROOT, NotOurs

START = [sys.executable, "-m", "interfaces.cli.main", "start"]


@pytest.mark.parametrize("port", sorted(DEFAULT_PORTS))
def test_no_test_uses_a_default_port(port: int) -> None:
    with socket.socket() as ours:
        for use in (ours.bind, ours.connect):
            with pytest.raises(NotOurs, match="default"):
                use(("127.0.0.1", port))


@pytest.mark.parametrize(
    ("environment", "missing"),
    [
        ({}, "DATA_DIR"),
        ({"DATA_DIR": "/tmp/x", "UI_PORT": "1"}, "PORT"),
        ({"DATA_DIR": "/tmp/x", "PORT": "1"}, "UI_PORT"),
    ],
)
def test_no_test_starts_a_service_on_defaults(environment: dict[str, str], missing: str) -> None:
    with pytest.raises(NotOurs, match=f"default of {missing};"):
        subprocess.run(START, env=environment, check=False)


def test_no_test_starts_a_service_on_somebodys_settings() -> None:
    environment = {"DATA_DIR": "/tmp/x", "PORT": "1", "UI_PORT": "2"}
    for folder in (None, ROOT):
        with pytest.raises(NotOurs, match=r"\.env of the repository"):
            subprocess.run(START, env=environment, cwd=folder, check=False)


@pytest.mark.parametrize(
    "path", [Path("data/secret_key"), ROOT / "data" / "run" / "nats.conf", Path(".env")]
)
def test_no_test_opens_the_default_data_folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(NotOurs, match="use tmp_path"):
        path.read_text()


def test_a_settings_file_of_a_test_can_be_removed_with_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "service"
    folder.mkdir()
    (folder / ".env").write_text("")
    shutil.rmtree(folder)
    assert not folder.exists()
