"""Settings: where they come from, and what is refused at start-up."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from autotrader.config.settings import Environment, Settings, load_settings
from autotrader.domain.bars import Interval
from autotrader.domain.errors import ConfigurationError
from autotrader.domain.instruments import InstrumentId, Venue

PRODUCTION = {
    "ENVIRONMENT": "production",
    "DATABASE__URL": "postgresql://autotrader:hunter2@db/autotrader",
    "DATABASE__LEDGER_URL": "postgresql://autotrader:hunter2@db/ledger",
    "LAKE__URI": "s3://lake",
    "LAKE__ARCHIVE_URI": "s3://archive",
    "MLFLOW__TRACKING_URI": "http://mlflow:5000",
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without the repository's own env files."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def give(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"AUTOTRADER_{name}", value)


def test_defaults_need_nothing_but_a_home(home: Path) -> None:
    settings = load_settings()
    assert settings.environment is Environment.DEV
    assert settings.database_url == f"sqlite:///{home}/autotrader.db"
    assert settings.ledger_url == f"sqlite:///{home}/ledger/trials.db"
    assert settings.lake_uri == str(home / "lake")
    assert settings.archive_uri == str(home / "archive")
    assert settings.mlflow_uri == "http://127.0.0.1:5000"
    assert settings.airflow_url == "http://127.0.0.1:8080"
    assert settings.strategy.strategy_id == "autotrader-strategy"
    assert settings.instruments() == tuple(
        InstrumentId(Venue.BINANCE, s) for s in ("BTCUSDT", "ETHUSDT", "BNBUSDT")
    )


def test_all_local_state_lies_under_home_even_where_home_is_relative(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, HOME="state")
    settings = load_settings()
    monkeypatch.chdir("/")
    assert load_settings().home == Path("state")
    assert settings.home == Path("state")


def test_nested_values_are_named_with_two_underscores(monkeypatch: pytest.MonkeyPatch) -> None:
    give(
        monkeypatch,
        BINANCE__API_KEY="key",
        STRATEGY__INTERVAL="5m",
        STRATEGY__ALLOCATED_CAPITAL="250000.50",
        MLFLOW__PORT="5001",
    )
    settings = load_settings()
    assert settings.binance.api_key is not None
    assert settings.binance.api_key.get_secret_value() == "key"
    assert settings.binance.concurrency == 8, "the rest of the section keeps its defaults"
    assert settings.strategy.interval is Interval.M5
    assert settings.strategy.allocated_capital == Decimal("250000.50")
    assert settings.mlflow_uri == "http://127.0.0.1:5001"


@pytest.mark.parametrize(
    "text", ["BTCUSDT,ETHUSDT", "BTCUSDT ETHUSDT", "BTCUSDT, ETHUSDT", '["BTCUSDT", "ETHUSDT"]']
)
def test_lists_are_written_as_people_write_them(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    give(monkeypatch, BINANCE__INSTRUMENTS=text)
    assert load_settings().binance.instruments == ("BTCUSDT", "ETHUSDT")


def test_instruments_come_in_order_of_venue_and_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, VENUES="oanda,binance", OANDA__INSTRUMENTS="USD_JPY", BINANCE__INSTRUMENTS="B A")
    assert [str(i) for i in load_settings().instruments()] == ["oanda:USD_JPY", "binance:B", "binance:A"]


def test_each_venue_has_its_own_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, IBKR__PUBLICATION_LATENCY_SECONDS="9")
    settings = load_settings()
    assert [settings.publication_latency_seconds(v) for v in Venue] == [2.0, 9.0, 2.0]


def test_the_environment_wins_over_the_env_file_and_that_over_the_stacks_own(
    home: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir()
    lines = {"MLFLOW__PORT": "1", "AIRFLOW__PORT": "1", "AIRFLOW__USER": "stack"}
    (home / "runtime.env").write_text("".join(f"AUTOTRADER_{k}={v}\n" for k, v in lines.items()))
    (elsewhere / ".env").write_text("AUTOTRADER_MLFLOW__PORT=2\nAUTOTRADER_AIRFLOW__PORT=2\n")
    give(monkeypatch, MLFLOW__PORT="3")
    settings = load_settings()
    assert (settings.mlflow.port, settings.airflow.port, settings.airflow.user) == (3, 2, "stack")
    assert load_settings(of_stack=False).airflow.user == "admin"


def test_a_home_named_in_the_env_file_is_where_the_stacks_own_file_is_looked_for(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AUTOTRADER_HOME")
    (elsewhere / "state").mkdir()
    (elsewhere / "state" / "runtime.env").write_text("AUTOTRADER_AIRFLOW__USER=stack\n")
    (elsewhere / ".env").write_text(f"AUTOTRADER_HOME={elsewhere}/state\n")
    assert load_settings().airflow.user == "stack"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ENVIRONMENT", "prod", "'dev', 'staging' or 'production'"),
        ("VENUES", "binance,kraken", "'binance', 'ibkr' or 'oanda'"),
        ("VENUES", " , ", "at least 1 item"),
        ("BINANCE__INSTRUMENTS", '["BTCUSDT"', "line 1"),
        ("BINANCE__CONCURRENCY", "many", "valid integer"),
        ("BINANCE__CONCURRENCY", "65", "less than or equal to 64"),
        ("BINANCE__API_KEYY", "hunter2", "not permitted"),
        ("MLFLOW__PORT", "65536", "less than or equal to 65535"),
        ("STRATEGY__STRATEGY_ID", "My Strategy", "pattern"),
        ("STRATEGY__HORIZON_MINUTES", "4", "greater than or equal to 5"),
        ("STRATEGY__ALLOCATED_CAPITAL", "0", "greater than 0"),
        ("CLOCK__MARKET_TIME", "2024-03-01T00:00:00", "UTC"),
        ("CLOCK__MARKET_TIME", "2024-03-01T00:00:00+01:00", "UTC"),
        ("LOG__LEVEL", "LOUD", "pattern"),
        ("BINANCE", "not json", "expected JSON"),
    ],
)
def test_a_wrong_value_is_refused_with_the_variables_name_and_what_was_expected(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    give(monkeypatch, **{name: value})
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    message = str(caught.value)
    assert f"AUTOTRADER_{name}: " in message
    assert expected in message


def test_every_wrong_value_is_named_at_once_and_none_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, MLFLOW__PORT="hunter2", AIRFLOW__PORT="hunter2")
    with pytest.raises(ConfigurationError, match=r"MLFLOW__PORT.*; .*AIRFLOW__PORT") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, CLOCK__MARKET_TIME="", MLFLOW__PORT="")
    assert load_settings().clock.market_time is None
    assert load_settings().mlflow.port == 5000


def test_market_time_is_read_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, CLOCK__MARKET_TIME="2024-03-01T00:00:00Z")
    assert load_settings().clock.market_time == datetime(2024, 3, 1, tzinfo=UTC)


def test_production_takes_given_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, **PRODUCTION)
    settings = load_settings()
    assert settings.database_url == PRODUCTION["DATABASE__URL"]
    assert settings.ledger_url == PRODUCTION["DATABASE__LEDGER_URL"]
    assert (settings.lake_uri, settings.archive_uri) == ("s3://lake", "s3://archive")
    assert settings.mlflow_uri == "http://mlflow:5000"


@pytest.mark.parametrize("missing", [name for name in PRODUCTION if name != "ENVIRONMENT"])
def test_production_refuses_to_fall_back_to_local_files(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    give(monkeypatch, **{k: v for k, v in PRODUCTION.items() if k != missing})
    with pytest.raises(ConfigurationError, match=f"AUTOTRADER_{missing}: expected a value"):
        load_settings()


def test_secrets_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, BINANCE__API_SECRET="hunter2", OANDA__TOKEN="hunter2", **PRODUCTION)
    settings = load_settings()
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_settings_cannot_be_changed_after_start_up() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.strategy.horizon_minutes = 5
    with pytest.raises(ValidationError, match="frozen"):
        settings.home = Path("/")


def test_the_settings_of_a_test_can_be_made_without_the_environment() -> None:
    assert Settings(venues=(Venue.OANDA,)).instruments()[0] == InstrumentId(Venue.OANDA, "EUR_USD")
