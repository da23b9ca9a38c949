"""Starts that settings alone rule out: development that others can reach, and production whose
traffic or secrets others can read or guess."""

import random
import secrets
import string

import pytest

from infrastructure.secrets.strength import SECRET_BITS_MIN, secret_bits
from infrastructure.settings.service import Settings, SettingsError, load_settings
from infrastructure.settings.start_checks import check_start

PRODUCTION = {
    "environment": "production",
    "host": "0.0.0.0",
    "database_url": "postgresql://service:hidden@db.example/chatledger?sslmode=verify-full",
    "migration_database_url": "postgresql://owner:hidden@db.example/chatledger?sslmode=require",
    "nats_url": "tls://nats.example:4222",
    "secret_key": secrets.token_urlsafe(48),
    "jwt_secret_key": secrets.token_urlsafe(48),
}


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("PGHOST", "PGHOSTADDR", "PGSSLMODE", "PGSERVICE", "PGUSER"):
        monkeypatch.delenv(name, raising=False)


def problems(**changes: object) -> str:
    """What a start would be refused for; empty: it would go on."""
    settings = load_settings(_env_file=None, **changes)
    said = ""
    try:
        check_start(settings, api=True, page=True)
    except SettingsError as refusal:
        said = str(refusal)
    assert "\n" not in said
    assert "hidden" not in said
    return said


def in_production(**changes: object) -> str:
    return problems(**PRODUCTION | changes)


@pytest.mark.parametrize("environment", ["development", "test"])
@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", " ", "0", "192.0.2.1", "::ffff:0.0.0.0", "2001:db8::1"]
)
def test_development_binds_no_address_that_others_reach(environment: str, host: str) -> None:
    said = problems(environment=environment, host=host)

    assert said.startswith(f"HOST={host.strip() or '(empty)'} lets other machines in")
    assert "set HOST to 127.0.0.1" in said
    assert problems(environment=environment, host=host, unsafe_development_on_network=True) == ""


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.3.2.1", "::ffff:127.0.0.1"])
def test_development_binds_what_only_this_machine_reaches(host: str) -> None:
    assert problems(host=host) == ""
    assert load_settings(_env_file=None, host=host).is_for_this_machine


@pytest.mark.parametrize(
    "others_come",
    [
        {"host": "0.0.0.0", "unsafe_development_on_network": True},
        {"trusted_proxies": "127.0.0.1", "unsafe_development_on_network": True},
        PRODUCTION | {"host": "127.0.0.1"},
    ],
)
def test_where_others_come_nothing_is_for_this_machine(others_come: dict[str, object]) -> None:
    assert not load_settings(_env_file=None, **others_come).is_for_this_machine
    assert problems(**others_come) == ""


def test_a_proxy_in_front_of_development_is_other_machines() -> None:
    assert "TRUSTED_PROXIES is for a service that others reach" in problems(
        trusted_proxies="127.0.0.1"
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"database_url": ""}, "needs DATABASE_URL"),
        ({"nats_url": ""}, "needs NATS_URL"),
        ({"secret_key": ""}, "needs SECRET_KEY with at least 32 characters"),
        ({"secret_key": "x" * 31}, "needs SECRET_KEY with at least 32 characters"),
        ({"jwt_secret_key": "x" * 31}, "needs JWT_SECRET_KEY with at least 32 characters"),
        ({"jwt_secret_key": PRODUCTION["secret_key"]}, "is the same as SECRET_KEY"),
        ({"secret_key": "a" * 32}, "SECRET_KEY looks chosen"),
        ({"jwt_secret_key": "a" * 32}, "JWT_SECRET_KEY looks chosen"),
        ({"bcrypt_rounds": 9}, "BCRYPT_ROUNDS=9"),
        ({"migration_database_url": PRODUCTION["database_url"]}, "name the same role"),
        ({"api_url": "http://api.example:8000"}, "API_URL goes over a network without TLS"),
        ({"database_url": "postgresql://service@[::1"}, "DATABASE_URL must be an address"),
        ({"nats_url": "http://nats.example"}, "NATS_URL must be an address"),
        ({"nats_url": "tls://nats.example:x"}, "NATS_URL is no address"),
    ],
)
def test_production_refuses_what_is_for_development(changes: dict[str, object], says: str) -> None:
    assert in_production() == ""
    assert says in in_production(**changes)


def test_all_that_production_refuses_is_told_at_once() -> None:
    said = in_production(
        secret_key="x" * 40,
        jwt_secret_key="",
        bcrypt_rounds=4,
        nats_url="nats://nats.example",
        database_url="",
    )

    for name in ("SECRET_KEY", "JWT_SECRET_KEY", "BCRYPT_ROUNDS", "NATS_URL", "DATABASE_URL"):
        assert name in said


@pytest.mark.parametrize(
    ("url", "is_safe"),
    [
        ("postgresql://u@db.example/x?sslmode=verify-full", True),
        ("postgresql://u@db.example/x?sslmode=verify-ca", True),
        ("postgresql://u@db.example/x?sslmode=require", True),
        ("host=db.example user=u sslmode=require", True),
        ("postgresql://u@db.example/x?gssencmode=require", True),
        ("postgresql://u@db.example/x", False),
        ("postgresql://u@db.example/x?sslmode=prefer", False),
        ("postgresql://u@db.example/x?sslmode=require&sslmode=disable", False),
        ("host=db.example user=u", False),
        ("postgresql://u@localhost/x", True),
        ("postgresql://u@127.0.0.1,[::1]:5433/x", True),
        ("postgresql://u@127.0.0.1,db.example/x", False),
        ("postgresql://u@localhost/x?hostaddr=192.0.2.1", False),
        ("postgresql://u@db.example/x?hostaddr=127.0.0.1", True),
        ("postgresql://u@localhost.example/x", False),
        ("postgresql://u@/x?host=/run/postgresql", True),
        ("postgresql:///x?host=/run/postgresql,192.0.2.1", False),
        ("postgresql:///x", True),
        ("host=@abstract user=u", True),
    ],
)
def test_a_database_over_a_network_needs_tls(url: str, is_safe: bool) -> None:
    said = in_production(database_url=url, migration_database_url="")

    assert said == "" if is_safe else "DATABASE_URL goes over a network without TLS" in said
    assert "add sslmode=verify-full" in said or is_safe
    allowed = {"database_url": url, "allow_plain_text_network": True}
    assert in_production(**allowed | {"migration_database_url": ""}) == ""


def test_what_libpq_takes_from_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = {"database_url": "postgresql://u@/x", "migration_database_url": ""}
    there = {"database_url": "postgresql://u@db.example/x", "migration_database_url": ""}
    monkeypatch.setenv("PGHOST", "db.example")
    assert "without TLS" in in_production(**nowhere)
    monkeypatch.setenv("PGSSLMODE", "require")
    assert in_production(**nowhere) == ""
    assert in_production(**there) == ""
    named = {"database_url": "service=ledger sslmode=require", "migration_database_url": ""}
    assert "DATABASE_URL names a service file" in in_production(**named)


@pytest.mark.parametrize(
    ("url", "is_safe"),
    [
        ("tls://nats.example:4222", True),
        ("tls://a.example, tls://b.example", True),
        ("nats://127.0.0.1:4222", True),
        ("localhost:4222", True),
        ("nats://user:hidden@[::1]:4222", True),
        ("wss://nats.example", True),
        ("nats://nats.example:4222", False),
        ("nats.example", False),
        ("tls://a.example,nats://b.example", False),
        ("ws://nats.example", False),
    ],
)
def test_nats_over_a_network_needs_tls(url: str, is_safe: bool) -> None:
    said = in_production(nats_url=url)

    assert said == "" if is_safe else "NATS_URL goes over a network without TLS; use tls://" in said
    assert in_production(nats_url=url, allow_plain_text_network=True) == ""


def test_the_page_alone_needs_its_own_settings_and_no_others() -> None:
    settings = load_settings(
        _env_file=None,
        environment="production",
        api_url="https://api.example",
        secret_key=PRODUCTION["secret_key"],
    )
    check_start(settings, api=False, page=True)
    with pytest.raises(SettingsError, match="SECRET_KEY"):
        check_start(load_settings(_env_file=None, environment="production"), api=False, page=True)


def test_a_page_finds_the_api_on_the_address_that_both_bind() -> None:
    assert in_production(host="192.0.2.1", api_url="http://192.0.2.1:8000") == ""


def test_development_may_do_all_of_this() -> None:
    assert problems(bcrypt_rounds=4, secret_key="x" * 32, jwt_secret_key="x" * 32) == ""
    assert "set both" in problems(database_url="postgresql://x/y")


@pytest.mark.parametrize(
    "chosen",
    [
        "a" * 32,
        "ab" * 16,
        "0123456789abcdef" * 2,
        "0123456789abcdefghijklmnopqrstuvwxyz",
        "12345678901234567890123456789012",
        "Passw0rd!Passw0rd!Passw0rd!Passw0rd?",
        "qwertyuiopasdfghjklzxcvbnm1234567890",
        "change-me-change-me-change-me-123456",
        "supersecretkeythatshouldbechanged!",
        "ThisIsMySuperSecretKeyForProduction2026!",
        "long enough to sign something with it",
        "2026-11-28T09:25:17Z2026-11-28T09:26:18Z",
        "chatledger-service-key-for-the-web-page-2026",
        "correct horse battery staple correct horse",
        "The quick brown fox jumps over the lazy dog 1234567890",
        "1q2w3e4r5t6y7u8i9o0p1q2w3e4r5t6y",
        "keep-this-safe-keep-that-safe-2026-11-28!",
        " " * 40,
    ],
)
def test_a_secret_that_somebody_chose_is_seen(chosen: str) -> None:
    assert secret_bits(chosen) < SECRET_BITS_MIN


def test_secrets_as_programs_draw_them_are_taken() -> None:
    drawn = random.Random(20261128)
    alphabets = {
        "hexadecimal, 128 bits": (string.hexdigits[:16], 32),
        "hexadecimal, 256 bits": (string.hexdigits[:16], 64),
        "base64, 192 bits": (string.ascii_letters + string.digits + "+/", 32),
        "base32, 160 bits": (string.ascii_uppercase + "234567", 32),
        "small letters": (string.ascii_lowercase, 32),
        "digits": (string.digits, 40),
        "base64, 256 bits": (string.ascii_letters + string.digits + "+/", 43),
        "letters and digits": (string.ascii_letters + string.digits, 48),
        "printable": (string.ascii_letters + string.digits + string.punctuation, 32),
        "what the refusal advises": (string.ascii_letters + string.digits + "-_", 64),
    }
    for what, (alphabet, length) in alphabets.items():
        for _ in range(50):
            secret = "".join(drawn.choices(alphabet, k=length))
            assert secret_bits(secret) >= SECRET_BITS_MIN, (what, secret)
