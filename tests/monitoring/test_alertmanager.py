"""Who is told, and who is not, by a real Alertmanager with our configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from autotrader.alerts.channels.alertmanager import AlertmanagerChannel
from autotrader.alerts.relayed import dedup_key, incident_of
from autotrader.domain.alert_rules import INHIBITIONS, RULES
from autotrader.domain.alerts import Severity
from autotrader.ports.alerts import AlertState, Line
from tests.fakes.clocks import SettableClock
from tests.monitoring.alertmanager import TOKEN, Receiver, alertmanager, configured, receiver, until
from tests.monitoring.cases import CASES
from tests.monitoring.watched import faster

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
    faster(configured(tmp_path, people))
    with alertmanager(tmp_path) as found:
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


APPLICATION = ("CircuitBreakerTripped", "PositionMismatch", "ModelDeploymentFailure", "ComponentUnhealthy")


@pytest.mark.parametrize("name", APPLICATION)
def test_a_rule_of_a_name_that_the_application_raises_too_yields_no_service(name: str) -> None:
    (rule,) = (rule for rule in RULES if rule.name == name)
    assert rule.severity is Severity.CRITICAL
    cases = [case for case in CASES if case.alert == name]
    labels = {label for case in cases for alert in case.expected for label in alert.labels}
    # Or it is a group of its own, since those of the application have none: somebody is paged twice.
    assert not labels & {"service", "origin"}
    assert any("service=" in series for case in cases for series in case.series), "expected it to be dropped"


@pytest.mark.parametrize("first_over", ["ours", "the rule's"])
def test_what_the_application_and_a_rule_tell_of_is_one_incident_until_both_are_over(
    first_over: str, url: str, people: Receiver
) -> None:
    clock = SettableClock(datetime.now(UTC))
    ours = AlertmanagerChannel(url, clock, timeout_seconds=60)

    def tell_ours(state: AlertState) -> None:
        now = clock.now()
        over = now if state is AlertState.RESOLVED else None
        line = Line(
            "a1", "CircuitBreakerTripped/main", "CircuitBreakerTripped", Severity.CRITICAL, state, "it fell",
            "https://r.example/x.md", None, 1, now, now, over,
        )  # fmt: skip
        ours.keep([line])

    def tell_rule(*, over: bool) -> None:
        labels = {"alertname": "CircuitBreakerTripped", "severity": "critical"}
        times = {"startsAt": clock.now().isoformat()} | ({"endsAt": clock.now().isoformat()} if over else {})
        body = [{"labels": labels, "annotations": {"summary": "tripped"}, **times}]
        httpx.post(f"{url}/api/v2/alerts", json=body, timeout=60, trust_env=False).raise_for_status()

    def pages() -> list[tuple[str, str]]:
        return [(page["event_action"], page["dedup_key"]) for page in people.sent_to("/v2/enqueue")]

    def heard_of(status: str, count: int) -> bool:
        bodies = people.sent_to("/alerts/webhook")
        return bool(bodies) and [alert["status"] for alert in bodies[-1]["alerts"]].count(status) == count

    tell_ours(AlertState.OPEN)
    until(pages, "to be told", seconds=120)
    tell_rule(over=False)
    until(lambda: heard_of("firing", 2), "both to be told together", seconds=120)
    ends: list[Callable[[], None]] = [partial(tell_ours, AlertState.RESOLVED), partial(tell_rule, over=True)]
    first, last = ends if first_over == "ours" else reversed(ends)
    first()
    until(lambda: heard_of("resolved", 1), "that one is over", seconds=120)
    assert {action for action, _ in pages()} == {"trigger"}
    last()
    until(lambda: pages()[-1][0] == "resolve", "to be told that it is over", seconds=120)
    assert len({key for _, key in pages()}) == 1
    incident = incident_of({"alertname": "CircuitBreakerTripped", "severity": "critical"})
    assert incident is not None
    assert pages()[0][1] == dedup_key(incident)
    ours.close()


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
