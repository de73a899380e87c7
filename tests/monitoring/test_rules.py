"""Every rule fires, stays silent and clears, in Prometheus' own unit tests."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from autotrader.domain.alert_rules import RULES
from autotrader.domain.metrics import METRICS, Kind, Process
from autotrader.monitoring.expressions import metrics_of
from tests.monitoring.cases import CASES, Case

RULE_FILES = Path("monitoring/prometheus/rules")
AWAY = {Process.EXPORTER, Process.TRADER}
BESIDE = {"exporter_source_up"}

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool: apt-get install prometheus"
)


def of_promtool(case: Case) -> list[dict[str, Any]]:
    """The case as a file of promtool has it: one with its fault, one that comes close."""
    expected = [
        {
            "exp_labels": {"severity": alert.severity, **alert.labels},
            "exp_annotations": {
                "summary": alert.summary,
                "runbook_url": f"runbooks/alerts/{case.alert}.md",
            },
        }
        for alert in case.expected
    ]
    return [
        _test(case.series, case.alert, {case.silent: [], case.fires: expected, case.clears: []}),
        _test(
            case.quiet, case.alert, {at: [] for at in sorted({1, case.quiet_until // 2, case.quiet_until})}
        ),
    ]


def _test(series: dict[str, str], alert: str, looks: dict[int, list[dict[str, Any]]]) -> dict[str, Any]:
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {"eval_time": f"{at}m", "alertname": alert, "exp_alerts": expected}
            for at, expected in looks.items()
        ],
    }


def promtool(tmp_path: Path, case: Case, *, rules: Path = RULE_FILES) -> str:
    """What promtool complains about; empty where all is as expected."""
    return judged(tmp_path, case, of_promtool(case), rules=rules)


def judged(tmp_path: Path, case: Case, tests: list[dict[str, Any]], *, rules: Path = RULE_FILES) -> str:
    path = tmp_path / "cases.yml"
    group = next(rule.group for rule in RULES if rule.name == case.alert)
    document = {
        "rule_files": [str((rules / f"{group}.yml").resolve())],
        "evaluation_interval": "1m",
        "tests": tests,
    }
    path.write_text(json.dumps(document))
    done = subprocess.run(
        ["promtool", "test", "rules", path], capture_output=True, text=True, timeout=120, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_every_rule_has_a_case_in_which_it_fires_and_clears_and_one_in_which_it_stays_silent() -> None:
    tested = {(case.alert, alert.severity) for case in CASES for alert in case.expected}

    assert tested == {(rule.name, rule.severity.value) for rule in RULES}


@needs_promtool
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_the_rule_is_silent_then_fires_then_clears(case: Case, tmp_path: Path) -> None:
    assert promtool(tmp_path, case) == ""


STATE = {metric.name for metric in METRICS if metric.kind is Kind.GAUGE and AWAY & set(metric.processes)}


def test_a_rule_about_a_state_that_the_exporter_or_the_trader_tells_outlives_their_absence() -> None:
    lasting = {rule.name for rule in RULES if metrics_of(rule.expression) - BESIDE <= STATE}
    # Of the machine and its stores others tell, who have a rule for their own absence.
    assert lasting >= {"CircuitBreakerTripped", "PositionMismatch", "BackupMissing"}
    assert {rule.name for rule in RULES if rule.keep_firing} == lasting


@needs_promtool
@pytest.mark.parametrize(
    ("tripped", "looks"),
    [
        ("0x4 1x4 stale _x3 1x9", {9: True, 12: True, 16: True}),
        ("0x4 1x4 0x20", {13: True, 15: False}),
    ],
    ids=["both away for four minutes", "resumed"],
)
def test_an_alert_is_not_over_while_nobody_looks_and_soon_over_afterwards(
    tripped: str, looks: dict[int, bool], tmp_path: Path
) -> None:
    case = next(case for case in CASES if case.alert == "CircuitBreakerTripped")
    (expected, _) = of_promtool(case)
    alert = expected["alert_rule_test"][1]["exp_alerts"]
    test = _test(
        {'trading_circuit_breaker_active{service="exporter"}': tripped},
        case.alert,
        {at: alert if fires else [] for at, fires in looks.items()},
    )
    assert judged(tmp_path, case, [test]) == ""


@needs_promtool
@pytest.mark.parametrize(
    ("good", "broken"),
    [
        ("max(trading_circuit_breaker_active) > 0", "max(trading_circuit_breaker_active) > 1"),
        ("max(trading_circuit_breaker_active) > 0", "max(trading_circuit_breaker_active) >= 0"),
        ("it is at", "it was at"),
    ],
    ids=["never fires", "never clears", "says something else"],
)
def test_a_broken_rule_is_noticed(good: str, broken: str, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    text = (RULE_FILES / "trading.yml").read_text()
    assert good in text
    (rules / "trading.yml").write_text(text.replace(good, broken))
    case = next(case for case in CASES if case.alert == "CircuitBreakerTripped")

    assert promtool(tmp_path, case, rules=rules) != ""
