"""What an operator may write as a setting, and which values are refused as mistakes."""

import secrets
from pathlib import Path

import pytest

from domain.pricing.price import PriceKind
from infrastructure.inference.prepared.catalogue import BY_NAME
from infrastructure.settings.service import Settings, SettingsError, load_settings

SECRET = secrets.token_urlsafe(48)
PRODUCTION = {
    "environment": "production",
    "database_url": "postgresql://service:hidden@db/chatledger",
    "nats_url": "nats://nats",
    "secret_key": SECRET,
    "jwt_secret_key": SECRET[::-1],
}


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(name, raising=False)


def load(**changes: object) -> Settings:
    return load_settings(_env_file=None, **changes)


def test_without_any_setting_the_service_runs_by_itself_for_development() -> None:
    settings = load()

    assert not settings.is_production
    assert settings.database_url.get_secret_value() == ""
    assert (settings.host, settings.port, settings.ui_port) == ("127.0.0.1", 8000, 7861)
    assert settings.welcome_micro == 100_000_000
    costs = {name: price.message_micro for name, price in settings.prices.items()}
    assert costs == {
        "gemma3-270m": 2_000_000,
        "gemma3-1b": 10_000_000,
        "gemma3-4b": 25_000_000,
        "gemma3-12b": 50_000_000,
    }


def test_settings_come_from_the_environment_and_from_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("PORT=9001\nUI_PORT=9002\nUNKNOWN_OF_OTHERS=x\n")
    monkeypatch.setenv("PORT", " 9003 ")

    settings = load_settings()

    assert (settings.port, settings.ui_port) == (9003, 9002)


def test_every_model_of_the_catalogue_has_a_price() -> None:
    assert list(load().prices) == list(BY_NAME)


def test_a_price_may_be_per_token_or_nothing() -> None:
    prices = load(gemma3_1b_cost="0.4/1.2", gemma3_12b_cost="0", gemma3_270m_cost=" 0 / 1 ").prices

    assert prices["gemma3-1b"].kind is PriceKind.PER_TOKEN
    assert prices["gemma3-1b"].prompt_micro_per_1000 == 400_000
    assert prices["gemma3-1b"].completion_micro_per_1000 == 1_200_000
    assert prices["gemma3-12b"].message_micro == 0
    assert prices["gemma3-270m"].completion_micro_per_1000 == 1_000_000


def test_welcome_credits_are_exact_and_may_be_none() -> None:
    assert load(welcome_credits="0.000001").welcome_micro == 1
    assert load(welcome_credits="0").welcome_micro == 0
    assert load(welcome_credits="12.500000000").welcome_micro == 12_500_000


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("environment", "prod", "production"),
        ("debug", "perhaps", "boolean"),
        ("log_level", "LOUD", "DEBUG, INFO, WARNING or ERROR"),
        ("port", "-1", "greater than or equal to 0"),
        ("port", "65536", "less than or equal to 65535"),
        ("port", "http", "integer"),
        ("jwt_algorithm", "none", "HS256"),
        ("jwt_algorithm", "RS256", "HS256"),
        ("jwt_expire_minutes", "0", "greater than or equal to 1"),
        ("jwt_expire_minutes", "1000000000000", "less than or equal"),
        ("refresh_expire_days", "1000000000000", "less than or equal"),
        ("bcrypt_rounds", "3", "greater than or equal to 4"),
        ("bcrypt_rounds", "31", "less than or equal to 16"),
        ("default_model", "gpt-9", "choose one of gemma3-270m"),
        ("default_model", "", "choose one of gemma3-270m"),
        ("gemma3_270m_cost", "", "is no price"),
        ("gemma3_270m_cost", "-2", "is no price"),
        ("gemma3_270m_cost", "0.0000001", "six decimal places"),
        ("gemma3_1b_cost", "1/2/3", "is no price"),
        ("gemma3_12b_cost", "/", "is no price"),
        ("cached_response_cost", "cheap", "is no price"),
        ("welcome_credits", "-1", "greater than or equal to 0"),
        ("welcome_credits", "1.0000001", "six decimal places"),
        ("welcome_credits", "1e30", "at most"),
        ("welcome_credits", "NaN", "finite"),
        ("welcome_credits", "many", "decimal"),
        ("max_response_length", "0", "greater than or equal to 1"),
        ("context_tokens_max", "100", "greater than or equal to 128"),
        ("inference_provider", "tpu", "cuda"),
        ("generation_timeout_s", "0", "greater than 0"),
        ("generation_timeout_s", "inf", "finite"),
        ("sweep_interval_s", "nan", "finite"),
        ("sweep_interval_s", "1e300", "less than or equal"),
        ("hold_ttl_s", "329", "HOLD_TTL_S must be at least"),
        ("ledger_threads", "0", "greater than or equal to 1"),
        ("request_body_bytes_max", "0", "greater than or equal to 1"),
        ("header_timeout_s", "0", "greater than 0"),
        ("connections_max", "0", "greater than or equal to 1"),
        ("trusted_proxies", "*", "addresses and networks"),
        ("trusted_proxies", "10.0.0.1, proxy.example", "addresses and networks"),
        ("trusted_proxies", "10.0.0.1/8", "host bits set"),
        ("trusted_proxies", "0.0.0.0/0", "name the proxies"),
        ("trusted_proxies", "0.0.0.0/1,128.0.0.0/1", "name the proxies"),
        ("trusted_proxies", "::/0", "name the proxies"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named_and_explained(
    name: str, value: str, says: str
) -> None:
    with pytest.raises(SettingsError) as refusal:
        load(**{name: value})

    assert name.upper() in str(refusal.value)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as refusal:
        load(port="x", log_level="loud", gemma3_1b_cost="free")

    assert str(refusal.value).count("; ") >= 2


def test_secrets_do_not_show() -> None:
    shown = repr(load(**PRODUCTION))

    assert "hidden" not in shown
    assert SECRET not in shown
    with pytest.raises(SettingsError) as refusal:
        load(**PRODUCTION | {"port": "x", "jwt_secret_key": "a short secret"})
    assert "a short secret" not in str(refusal.value)
