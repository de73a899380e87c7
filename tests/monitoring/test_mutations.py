"""Every rule is proven by a fault that is injected into a running platform, or has a reason why not.

The faults are in `faults_*.py`, and are lived through in the `test_mutations_*.py` beside this file: real
Prometheus, Alertmanager and processes; faults are injected into the part, never into its metric.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest
import yaml

from autotrader.domain.alert_rules import RULES
from autotrader.domain.metrics import Profile
from tests.monitoring import faults_pipelines, faults_services, faults_stores, faults_trading
from tests.monitoring.alertmanager import Receiver, configured
from tests.monitoring.watched import AGES, HOLD_SECONDS, WINDOWS, Fault, faster, row

FAULTS: tuple[Fault[Any], ...] = (
    *faults_services.FAULTS,
    *faults_trading.FAULTS,
    *faults_pipelines.FAULTS,
    *faults_stores.FAULTS,
)

NOT_INJECTED = {
    "HighCPUUsage": "other tests share the processors: it may fire without us, and not clear while they run",
    "HighMemoryUsage": "six sevenths of the machine's memory would be needed, and the kernel would end tests",
}


def proven() -> set[tuple[str, str]]:
    """Names and severities of the rules of which a fault is expected to raise a row."""
    rows = chain.from_iterable(fault.rows for fault in FAULTS)
    return {(rule.name, rule.severity.value) for row in rows for rule in row.rules}


def test_every_rule_is_proven_by_a_fault_or_has_a_reason_why_not() -> None:
    catalogue = {(rule.name, rule.severity.value) for rule in RULES}
    listed = {(rule.name, rule.severity.value) for rule in RULES if rule.name in NOT_INJECTED}

    assert proven() | listed == catalogue
    assert not proven() & listed, "expected no reason for a rule that is proven"
    assert set(NOT_INJECTED) <= {name for name, _ in catalogue}
    assert all(reason.strip() for reason in NOT_INJECTED.values())


def test_a_fault_names_rules_that_there_are_and_no_row_has_two_faults() -> None:
    rows = [row for fault in FAULTS for row in fault.rows]

    assert [str(row) for row in rows if not row.rules] == []
    assert len({str(row) for row in rows}) == len(rows)


def test_only_times_of_rules_are_scaled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Thresholds, metrics and labels are those of the rules; a time that no scale is known for fails."""
    made = [tmp_path_factory.mktemp(name) for name in ("usual", "faster")]
    for folder in made:
        configured(folder, Receiver(port=1), profiles=tuple(Profile))
    faster(made[1])
    for path in sorted((made[0] / "prometheus" / "rules").glob("*.yml")):
        usual, scaled = (
            yaml.safe_load((folder / "prometheus" / "rules" / path.name).read_text()) for folder in made
        )
        for before, after in zip(alerts(usual), alerts(scaled), strict=True):
            expected = str(before["expr"])
            for window, shorter in WINDOWS.items():
                expected = expected.replace(f"[{window}]", f"[{shorter}]")
            if before["alert"] in AGES:
                age, younger = AGES[before["alert"]]
                expected = expected.replace(f" {age:.0f}", f" {younger}")
            assert after["expr"] == expected
            for wait in ("for", "keep_firing_for"):
                assert after.get(wait) == (f"{HOLD_SECONDS}s" if wait in before else None)
            assert (after["labels"], after["alert"]) == (before["labels"], before["alert"])


def alerts(content: dict[str, list[dict[str, list[dict[str, object]]]]]) -> list[dict[str, object]]:
    return [rule for group in content["groups"] for rule in group["rules"] if "alert" in rule]


def test_a_row_of_one_severity_proves_that_rule_alone() -> None:
    (slow,) = row("ErrorBudgetBurn", severity="warning").rules
    assert slow.severity == "warning"
    assert len(row("ErrorBudgetBurn").rules) == 2
