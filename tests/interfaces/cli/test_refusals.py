"""Whatever keeps the service from starting: one sentence that says what to do, and status 1."""

import asyncio
import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from infrastructure.embedded.servers import EmbeddedServers, EmbeddedSettings
from infrastructure.settings.service import load_settings
from interfaces.cli.main import parser
from interfaces.composition.endpoints import Endpoints, migrate_schema, open_ledger
from interfaces.composition.identity import ensure_admin, open_users
from interfaces.composition.ledger_keys import ledger_keys
from tests.interfaces.cli.command import chatledger
from tests.support.servers import DatabaseUrls, ignore

PRODUCTION = {
    "ENVIRONMENT": "production",
    "DATABASE_URL": "postgresql://somebody:hidden@127.0.0.1:1/nothing",
    "NATS_URL": "nats://127.0.0.1:1",
    "SECRET_KEY": secrets.token_urlsafe(48),
    "JWT_SECRET_KEY": secrets.token_urlsafe(48),
    "BCRYPT_ROUNDS": "10",
}


@pytest.fixture
def taken_port() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Under the system's temporary folder, where PostgreSQL's own user may pass through."""
    with tempfile.TemporaryDirectory(prefix="chatledger-cli-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_the_port_of_the_api_is_in_use(folder: Path, taken_port: int) -> None:
    refusal = chatledger("start", "--mode", "api", "--port", str(taken_port), folder=folder)

    assert f"127.0.0.1:{taken_port} cannot be used" in refusal.refusal()
    assert "set PORT to another port (--port)" in refusal.refusal()
    assert not (folder / "data").exists(), "nothing was started for nothing"


@pytest.mark.parametrize("mode", ["all", "ui"])
def test_the_port_of_the_page_is_in_use(folder: Path, taken_port: int, mode: str) -> None:
    refusal = chatledger("start", "--mode", mode, "--ui-port", str(taken_port), folder=folder)

    assert "set UI_PORT to another port (--ui-port)" in refusal.refusal()
    assert not (folder / "data").exists()


def test_both_ports_are_looked_at_before_anything_is_started(folder: Path, taken_port: int) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        ports = {"PORT": str(taken_port), "UI_PORT": str(other.getsockname()[1])}
        refusal = chatledger("start", folder=folder, **ports).refusal()

    assert "set PORT to another port" in refusal
    assert "set UI_PORT to another port" in refusal


def test_one_port_for_both_is_refused(folder: Path) -> None:
    refusal = chatledger("start", folder=folder, PORT="8123", UI_PORT="8123").refusal()

    assert refusal.startswith("PORT and UI_PORT are both 8123")


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_an_address_that_is_not_of_this_machine_is_called_that(folder: Path, host: str) -> None:
    refusal = chatledger(
        "start", folder=folder, HOST=host, UNSAFE_DEVELOPMENT_ON_NETWORK="true"
    ).refusal()

    assert f"{host} is no address of this machine" in refusal
    assert "set HOST" in refusal
    assert "PORT" not in refusal


@pytest.mark.parametrize("mode", ["all", "ui"])
def test_settings_are_named_before_ports_and_folders_are_looked_at(
    folder: Path, taken_port: int, mode: str
) -> None:
    taken = {"PORT": str(taken_port), "UI_PORT": str(taken_port)}
    for impossible, named in (
        (PRODUCTION | {"SECRET_KEY": "x" * 40}, "SECRET_KEY looks chosen"),
        ({"HOST": "0.0.0.0"}, "HOST=0.0.0.0 lets other machines in"),
        ({"API_URL": "127.0.0.1"}, "API_URL must be an address"),
    ):
        refusal = chatledger("start", "--mode", mode, folder=folder, **taken | impossible)

        assert named in refusal.refusal()
        assert "cannot be used" not in refusal.refusal()
        assert not (folder / "data").exists()


@pytest.mark.parametrize(
    ("flags", "settings"),
    [
        (("--host", "0.0.0.0"), {}),
        (("--mode", "ui"), {"HOST": "::"}),
        (("--mode", "api"), {"ENVIRONMENT": "development", "HOST": ""}),
    ],
)
def test_development_is_for_this_machine_alone(
    folder: Path, flags: tuple[str, ...], settings: dict[str, str]
) -> None:
    refusal = chatledger("start", *flags, folder=folder, **settings).refusal()

    assert "for this" in refusal
    assert "UNSAFE_DEVELOPMENT_ON_NETWORK=true" in refusal
    assert "ENVIRONMENT=production" in refusal
    assert not (folder / "data").exists()


async def _make_known_administrator(urls: DatabaseUrls, data_dir: Path) -> None:
    settings = load_settings(_env_file=None, environment="test", data_dir=data_dir)
    endpoints = Endpoints(owner_url=urls.owner, service_url=urls.service, nats_url="")
    migrate_schema(settings, endpoints)
    ledger = open_ledger(settings, endpoints, ledger_keys(settings, endpoints))
    with open_users(settings, ledger) as users:
        await ensure_admin(settings, urls.service, ledger, users)
    await ledger.aclose()


def test_an_administrator_with_the_known_password_is_named_with_the_command_that_helps(
    folder: Path, database: DatabaseUrls, nats_url: str
) -> None:
    servers = {
        "DATABASE_URL": database.service,
        "MIGRATION_DATABASE_URL": database.owner,
        "NATS_URL": nats_url,
    }
    exposed = {"HOST": "0.0.0.0", "UNSAFE_DEVELOPMENT_ON_NETWORK": "true", **servers}
    asyncio.run(_make_known_administrator(database, folder / "data"))

    start = ("start", "--mode", "api", "--skip-init")
    refused = chatledger(*start, folder=folder, **exposed)

    assert refused.status == 1
    assert "Traceback" not in refused.errors
    last = refused.errors.splitlines()[-1]
    assert last.startswith("chatledger: the development password is still an administrator's")
    assert "change it with `chatledger users set-password admin`" in last


def test_the_data_folder_is_in_use(folder: Path) -> None:
    data_dir = folder / "data"
    with EmbeddedServers.start(EmbeddedSettings(data_dir=data_dir), ignore):
        refusal = chatledger(*("start", "--mode", "api", "--skip-init"), folder=folder)

    assert str(data_dir) in refusal.refusal()
    assert "in use" in refusal.refusal()


@pytest.mark.parametrize("place", ["/proc/chatledger", "a file"])
def test_the_data_folder_cannot_be_written(folder: Path, place: str) -> None:
    if place == "a file":
        (folder / "file").write_text("")
        place = str(folder / "file")

    refusal = chatledger(
        *("start", "--mode", "api", "--skip-init"),
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
    folder: Path,
) -> None:
    refusal = chatledger(
        *("start", "--mode", "api", "--skip-init"),
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
def test_an_unknown_command_gets_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(arguments)

    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: chatledger")
