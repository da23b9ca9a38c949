"""Whatever keeps the service from starting: one sentence that says what to do, and status 1."""

import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from infrastructure.embedded.servers import EmbeddedServers, EmbeddedSettings
from interfaces.cli.main import parser
from tests.interfaces.cli.command import chatledger
from tests.support.servers import ignore

SECRET = "long enough to sign something with it"
PRODUCTION = {
    "ENVIRONMENT": "production",
    "DATABASE_URL": "postgresql://somebody:hidden@127.0.0.1:1/nothing",
    "NATS_URL": "nats://127.0.0.1:1",
    "SECRET_KEY": SECRET,
    "JWT_SECRET_KEY": SECRET,
}


@pytest.fixture
def taken_port() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


@pytest.fixture
def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def folder() -> Iterator[Path]:
    """Under the system's temporary folder, where PostgreSQL's own user may pass through."""
    with tempfile.TemporaryDirectory(prefix="chatledger-cli-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_the_port_of_the_api_is_in_use(folder: Path, taken_port: int) -> None:
    refusal = chatledger("start", "--mode", "api", "--port", str(taken_port), folder=folder)

    assert f"127.0.0.1:{taken_port} cannot be used" in refusal.refusal()
    assert "set PORT to another" in refusal.refusal()
    assert not (folder / "data").exists(), "nothing was started for nothing"


@pytest.mark.parametrize("mode", ["all", "ui"])
def test_the_port_of_the_page_is_in_use(
    folder: Path, taken_port: int, free_port: int, mode: str
) -> None:
    refusal = chatledger(
        *("start", "--mode", mode, "--port", str(free_port), "--ui-port", str(taken_port)),
        folder=folder,
    )

    assert "set UI_PORT to another" in refusal.refusal()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_an_address_that_is_not_of_this_machine_is_called_that(folder: Path, host: str) -> None:
    refusal = chatledger("start", HOST=host, folder=folder).refusal()

    assert host in refusal
    assert "set HOST" in refusal
    assert "PORT" not in refusal


def test_the_data_folder_is_in_use(folder: Path, free_port: int) -> None:
    data_dir = folder / "data"
    with EmbeddedServers.start(EmbeddedSettings(data_dir=data_dir), ignore):
        refusal = chatledger(
            *("start", "--mode", "api", "--port", str(free_port), "--skip-init"), folder=folder
        )

    assert str(data_dir) in refusal.refusal()
    assert "in use" in refusal.refusal()


@pytest.mark.parametrize("place", ["/proc/chatledger", "a file"])
def test_the_data_folder_cannot_be_written(folder: Path, free_port: int, place: str) -> None:
    if place == "a file":
        (folder / "file").write_text("")
        place = str(folder / "file")

    refusal = chatledger(
        *("start", "--mode", "api", "--port", str(free_port), "--skip-init"),
        DATA_DIR=place,
        folder=folder,
    )

    assert place in refusal.refusal()
    assert "DATA_DIR" in refusal.refusal()


@pytest.mark.parametrize("command", [("start",), ("users", "create-admin", "ada", "a@b.example")])
def test_every_setting_that_cannot_be_used_is_named_in_the_one_sentence(
    folder: Path, command: tuple[str, ...]
) -> None:
    refusal = chatledger(*command, folder=folder, PORT="99999", LOG_LEVEL="loud").refusal()

    assert "; PORT: " in refusal
    assert "LOG_LEVEL: " in refusal
    assert not (folder / "data").exists()


def test_one_server_of_ones_own_is_not_enough(folder: Path) -> None:
    refusal = chatledger(
        *("users", "create-admin", "ada", "ada@example.com"),
        folder=folder,
        stdin="a good passphrase\n",
        DATABASE_URL="postgresql://x/y",
    ).refusal()

    assert "set both DATABASE_URL and NATS_URL" in refusal


def test_production_refuses_the_embedded_servers(folder: Path) -> None:
    refusal = chatledger("start", folder=folder, **PRODUCTION | {"DATABASE_URL": ""}).refusal()

    assert "needs DATABASE_URL; the embedded servers are for development" in refusal


def test_a_database_that_does_not_answer_is_named_without_its_password(
    folder: Path, free_port: int
) -> None:
    refusal = chatledger(
        *("start", "--mode", "api", "--port", str(free_port), "--skip-init"),
        folder=folder,
        **PRODUCTION,
    ).refusal()

    assert "DATABASE_URL" in refusal
    assert "Connection refused" in refusal
    assert "hidden" not in refusal


def test_a_model_that_cannot_be_prepared_is_said_once(folder: Path) -> None:
    finished = chatledger("models", "prepare", "gpt-9", folder=folder)

    assert "known are gemma3-270m" in finished.refusal()


def test_an_unknown_projection_is_refused_before_anything_is_started(folder: Path) -> None:
    refusal = chatledger("projections", "rebuild", "nothing", folder=folder)

    assert "choose all or balances" in refusal.refusal()
    assert not (folder / "data").exists()


@pytest.mark.parametrize("arguments", [[], ["stop"], ["start", "--mode", "fast"], ["users"]])
def test_a_command_that_is_none_gets_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(arguments)

    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: chatledger")
