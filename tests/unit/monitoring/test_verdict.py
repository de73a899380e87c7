"""One word from three checks, and its event."""

from __future__ import annotations

from autotrader.domain.verdicts import Finding, Severity
from autotrader.monitoring.checks import Check, decided, undecided
from autotrader.monitoring.verdict import Health, HealthVerdict, announce, conclude
from tests.fakes.events import InMemoryEventLog
from tests.fakes.small_market import NOW


def check(name: str, kind: str, severity: Severity) -> Check:
    return decided(name, [Finding(kind, severity, f"{kind} is bad")], "well", model="v1.0.0")


FINE = [decided(name, [], f"{name} is well", model="v1.0.0") for name in ("drift", "quality", "performance")]


def verdict(*checks: Check, retrain: bool = True) -> HealthVerdict:
    return conclude(checks, market_time=NOW, replay=True, strategy_id="strategy", retrain_on_critical=retrain)


def test_all_well_is_healthy() -> None:
    found = verdict(*FINE)
    assert (found.health, found.what_to_do, found.model) == (Health.HEALTHY, (), "v1.0.0")


def test_what_was_not_looked_at_is_not_healthy() -> None:
    found = verdict(undecided("drift", "nothing was served"), FINE[1], FINE[2])
    assert (found.health, found.reason) == (Health.UNDECIDED, "drift: nothing was served")


def test_the_worst_check_speaks_and_says_what_to_do() -> None:
    found = verdict(
        check("drift", "feature_drift", Severity.CRITICAL), check("quality", "lag", Severity.WARNING), FINE[2]
    )
    assert found.health is Health.CRITICAL
    assert found.reason == "drift: feature_drift is bad"
    assert found.what_to_do[0].startswith("Compare the moved features")
    assert "data_pipeline" in found.what_to_do[1]


def test_the_way_back_names_the_version_that_was_judged() -> None:
    found = verdict(FINE[0], FINE[1], check("performance", "accuracy", Severity.WARNING))
    assert "emergency_rollback --version v1.0.0 --reason REASON" in found.what_to_do[0]


def test_training_again_is_asked_for_only_where_newer_data_could_help_and_the_setting_says_so() -> None:
    drift, broken = (
        check("drift", "feature_drift", Severity.CRITICAL),
        check("quality", "parity", Severity.CRITICAL),
    )
    assert verdict(drift, FINE[1], FINE[2]).retrain
    assert not verdict(drift, FINE[1], FINE[2], retrain=False).retrain
    assert not verdict(drift, broken, FINE[2]).retrain
    assert not verdict(FINE[0], broken, FINE[2]).retrain
    assert not verdict(check("drift", "feature_drift", Severity.WARNING), FINE[1], FINE[2]).retrain


def test_a_critical_verdict_is_one_event_a_check() -> None:
    events = InMemoryEventLog()
    critical = verdict(check("drift", "feature_drift", Severity.CRITICAL), FINE[1], FINE[2])
    for run_key in ("10:00", "10:00", "11:00"):
        announce(critical, events, run_key=run_key, actor="test", at=NOW)
    assert list(events.events) == ["health/strategy/10:00", "health/strategy/11:00"]
    event = events.events["health/strategy/10:00"]
    assert (event.type, event.severity) == ("ALERT", "critical")
    assert "strategy v1.0.0 is not well: drift: feature_drift is bad" in event.message
    for run_key in ("12:00", "13:00"):
        assert announce(verdict(*FINE), events, run_key=run_key, actor="test", at=NOW) is None
    assert list(events.events)[2:] == ["health/strategy/11:00/over"]


def test_a_critical_verdict_is_over_once_somebody_looked_again_or_another_model_is_live() -> None:
    events = InMemoryEventLog()
    drifted = verdict(check("drift", "feature_drift", Severity.CRITICAL), FINE[1], FINE[2])
    announce(drifted, events, run_key="10:00", actor="test", at=NOW)
    blind = undecided("drift", "nothing was served")
    for unseen in (verdict(blind, FINE[1], FINE[2]), verdict(blind)):  # the latter knows of no model
        announce(unseen, events, run_key="11:00", actor="test", at=NOW)
        assert list(events.events) == ["health/strategy/10:00"]
    other = decided("quality", [], "well", model="v1.1.0")
    announce(verdict(blind, other), events, run_key="12:00", actor="test", at=NOW)
    assert list(events.events)[1:] == ["health/strategy/10:00/over"]
    announce(drifted, events, run_key="13:00", actor="test", at=NOW)
    unlooked = undecided("performance", "too few labels")
    announce(verdict(FINE[0], FINE[1], unlooked), events, run_key="14:00", actor="test", at=NOW)
    assert list(events.events)[3:] == ["health/strategy/13:00/over"]


def test_a_verdict_that_is_well_is_no_event_where_none_was_critical() -> None:
    events = InMemoryEventLog()
    assert announce(verdict(*FINE), events, run_key="12:00", actor="test", at=NOW) is None
    assert events.events == {}
