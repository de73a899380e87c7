"""Which secrets are missing, guessable, or open to others."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from autotrader.config.settings import Settings, load_settings
from autotrader.readiness import configuration
from autotrader.readiness.findings import Finding, State
from autotrader.readiness.secrets import guessable

GOOD = "kV7q-2mZp-9RtX-w4Lc"


def by_subject(findings: Iterable[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings}


def look(home: Path) -> dict[str, Finding]:
    home.mkdir(exist_ok=True)
    return by_subject(configuration.look(settings=load_settings()))


@pytest.mark.parametrize(
    "value",
    ["admin", "Password1", "changeme", "postgres", "short-one", "aaaaaaaaaaaaaaaa", "1234", "",
     "postgresql://autotrader:autotrader@db/autotrader", "postgresql://autotrader:abc@db/x"],
)  # fmt: skip
def test_a_default_or_short_secret_can_be_guessed(value: str) -> None:
    why = guessable(value)
    assert why
    assert not value or value not in why


@pytest.mark.parametrize(
    "value",
    [GOOD, f"postgresql://autotrader:{GOOD}@db/autotrader", "sqlite:////var/lib/autotrader.db",
     "postgresql://db/with-peer-authentication", "https://hooks.slack.com/services/T01/B02/uZq81lMnAw"],
)  # fmt: skip
def test_a_long_one_cannot_and_a_url_is_judged_by_its_password(value: str) -> None:
    assert guessable(value) is None


def test_a_default_secret_fails_with_its_variable_and_without_its_value(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOTRADER_AIRFLOW__PASSWORD", "changeme123")
    found = look(home)["strength of secrets"]
    assert found.state is State.FAILED
    assert "AUTOTRADER_AIRFLOW__PASSWORD" in found.reason
    assert "changeme123" not in found.reason + found.todo


def test_a_secret_that_the_configuration_needs_and_lacks_fails(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert look(home)["secrets"].state is State.OK
    monkeypatch.setenv("AUTOTRADER_TRADING__BROKER", "binance")
    found = look(home)["secrets"]
    assert found.state is State.FAILED
    assert "AUTOTRADER_BINANCE__API_KEY, AUTOTRADER_BINANCE__API_SECRET" in found.reason


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_file_of_secrets_that_others_can_read_fails_with_its_name_and_mode(home: Path, mode: int) -> None:
    secret = home / "monitoring" / "secrets" / "pagerduty-routing-key"
    secret.parent.mkdir(parents=True)
    secret.write_text(GOOD)
    secret.chmod(0o600)
    assert look(home)["files of secrets"].state is State.OK
    secret.chmod(mode)
    found = look(home)["files of secrets"]
    assert found.state is State.FAILED
    assert f"{secret} ({mode:04o})" in found.reason
    assert f"chmod 600 {secret}" in found.todo


def test_a_listener_beyond_loopback_without_tls_is_a_warning(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOTRADER_API__HOST", "0.0.0.0")  # noqa: S104
    assert look(home)["API"].state is State.WARNING


def test_market_time_that_stands_fails_in_production_alone() -> None:
    text = {"clock": {"market_time": "2024-03-01T00:00:00+00:00"}}
    stores = {
        "database": {"url": f"postgresql://a:{GOOD}@db/a", "ledger_url": f"postgresql://a:{GOOD}@db/l"},
        "lake": {"uri": "s3://x/lake", "archive_uri": "s3://x/archive"},
        "mlflow": {"tracking_uri": "http://mlflow:5000"},
    }
    replay = Settings.model_validate(text)
    assert by_subject(configuration.look(settings=replay))["market clock"].state is State.NOT_APPLICABLE
    production = Settings.model_validate({**text, **stores, "environment": "production"})
    found = by_subject(configuration.look(settings=production))
    assert found["market clock"].state is State.FAILED
    assert found["secrets"].state is State.FAILED


def test_a_home_that_is_not_there_fails() -> None:
    assert by_subject(configuration.look(settings=load_settings()))["home"].state is State.FAILED
