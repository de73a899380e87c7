"""Every rule fires, stays silent and clears, in Prometheus' own unit tests."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from autotrader.domain.alert_rules import RULES
from tests.monitoring.cases import CASES, Case

RULE_FILES = Path("monitoring/prometheus/rules")

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
    path = tmp_path / "cases.yml"
    group = next(rule.group for rule in RULES if rule.name == case.alert)
    document = {
        "rule_files": [str((rules / f"{group}.yml").resolve())],
        "evaluation_interval": "1m",
        "tests": of_promtool(case),
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


@needs_promtool
@pytest.mark.parametrize(
    ("good", "broken"),
    [
        ("trading_circuit_breaker_active > 0", "trading_circuit_breaker_active > 1"),
        ("trading_circuit_breaker_active > 0", "trading_circuit_breaker_active >= 0"),
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
