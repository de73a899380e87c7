"""Who is told, and who is not, by a real Alertmanager with our configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from autotrader.domain.alert_rules import INHIBITIONS, RULES
from tests.monitoring.alertmanager import TOKEN, Receiver, alertmanager, configured, receiver, until

SEVERITIES = {rule.name: rule.severity.value for rule in RULES}

# Source, what it silences, what it does not.
SILENCED: tuple[tuple[dict[str, str], dict[str, str], dict[str, str]], ...] = (
    (
        {"alertname": "SystemDown"},
        {"alertname": "ServiceDown", "service": "api"},
        {"alertname": "CircuitBreakerTripped"},
    ),
    (
        {"alertname": "ServiceDown", "service": "api"},
        {"alertname": "HighErrorRate", "service": "api"},
        {"alertname": "HighErrorRate", "service": "prediction-blue"},
    ),
    (
        {"alertname": "ServiceDown", "service": "trader"},
        {"alertname": "ComponentUnhealthy", "component": "feed"},
        {"alertname": "ComponentUnhealthy", "component": "disk"},
    ),
    (
        {"alertname": "PostgresDown"},
        {"alertname": "ComponentUnhealthy", "component": "database"},
        {"alertname": "ComponentUnhealthy", "component": "broker"},
    ),
    (
        {"alertname": "PostgresDown"},
        {"alertname": "SlowQueries", "service": "api"},
        {"alertname": "HighCPUUsage"},
    ),
    (
        {"alertname": "RedisDown"},
        {"alertname": "NoWorkersAvailable"},
        {"alertname": "WorkerQueueBacklog"},
    ),
    (
        {"alertname": "CriticalFeatureDrift", "feature": "rsi"},
        {"alertname": "FeatureDriftWarning", "feature": "rsi"},
        {"alertname": "FeatureDriftWarning", "feature": "atr"},
    ),
    (
        {"alertname": "DatabaseConnectionsExhausted", "instance": "a"},
        {"alertname": "HighDatabaseConnections", "instance": "a"},
        {"alertname": "HighDatabaseConnections", "instance": "b"},
    ),
    (
        {"alertname": "ErrorBudgetBurn", "severity": "critical", "slo": "availability"},
        {"alertname": "ErrorBudgetBurn", "severity": "warning", "slo": "availability"},
        {"alertname": "ErrorBudgetBurn", "severity": "warning", "slo": "data_freshness"},
    ),
)


@pytest.fixture
def people() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


@pytest.fixture
def url(tmp_path: Path, people: Receiver) -> Iterator[str]:
    with alertmanager(configured(tmp_path, people)) as found:
        yield found


def raised(url: str, *alerts: dict[str, str]) -> None:
    bodies = [
        {
            "labels": {"severity": SEVERITIES[labels["alertname"]], **labels},
            "annotations": {
                "summary": f"{labels['alertname']} at 42",
                "runbook_url": "https://r.example/x.md",
            },
        }
        for labels in alerts
    ]
    httpx.post(f"{url}/api/v2/alerts", json=bodies, timeout=60, trust_env=False).raise_for_status()


def is_silenced(url: str, labels: dict[str, str]) -> bool | None:
    """None while nobody knows."""
    found: list[dict[str, Any]] = httpx.get(f"{url}/api/v2/alerts", timeout=60, trust_env=False).json()
    for alert in found:
        if labels.items() <= alert["labels"].items() and alert["status"]["state"] != "unprocessed":
            return bool(alert["status"]["inhibitedBy"])
    return None


def test_every_inhibition_is_tried() -> None:
    assert len(SILENCED) == len(INHIBITIONS)


@pytest.mark.parametrize(
    ("source", "silenced", "other"), SILENCED, ids=lambda labels: " ".join(labels.values())
)
def test_a_cause_silences_its_consequence_and_nothing_else(
    source: dict[str, str], silenced: dict[str, str], other: dict[str, str], url: str
) -> None:
    raised(url, source)
    raised(url, silenced, other)

    until(lambda: is_silenced(url, silenced), f"{silenced} to be silenced", seconds=120)
    until(lambda: is_silenced(url, other) is False, f"{other} to be told", seconds=120)
    assert is_silenced(url, source) is False


def test_people_read_the_number_and_the_page_and_the_platform_hears_of_all(
    url: str, people: Receiver
) -> None:
    raised(url, {"alertname": "CircuitBreakerTripped"}, {"alertname": "LowWinRate"})

    until(lambda: people.sent_to("/v2/enqueue") and people.sent_to("/slack"), "to be told", seconds=120)
    until(lambda: len(people.sent_to("/alerts/webhook")) == 2, "the platform to hear of both", seconds=120)

    (page,) = people.sent_to("/v2/enqueue")
    assert (page["event_action"], page["payload"]["severity"]) == ("trigger", "critical")
    assert page["payload"]["summary"] == "CircuitBreakerTripped: CircuitBreakerTripped at 42"
    assert page["payload"]["custom_details"]["runbook"] == "https://r.example/x.md"
    (message,) = people.sent_to("/slack")
    attachment = message["attachments"][0]
    assert attachment["title"] == "[FIRING] warning: LowWinRate"
    assert "LowWinRate at 42\nWhat to do: https://r.example/x.md" in attachment["text"]
    assert people.authorizations == {f"Bearer {TOKEN}"}
