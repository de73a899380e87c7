"""Steps of the health check, over a live model in a small market; and the verb that runs them all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from autotrader.command import to_plain
from autotrader.domain.errors import ExitCode
from autotrader.features.reference.files import Reference
from autotrader.monitoring import page
from autotrader.monitoring.health_report import HealthReport
from autotrader.pipelines import health_steps
from tests.fakes.holds import InMemoryHolds
from tests.unit.monitoring.live import Live, make_reference


@pytest.fixture(scope="module")
def reference() -> Reference:
    return make_reference()


@pytest.fixture
def live(tmp_path: Path, reference: Reference, monkeypatch: pytest.MonkeyPatch) -> Live:
    # Evidently takes eight seconds to import: tests/integration has its page.
    monkeypatch.setattr(page, "write_evidently", lambda path, *_, **__: path.write_text("<html>"))
    return Live(tmp_path, reference)


def steps(live: Live, run_key: str = "run") -> HealthReport:
    given: dict[str, Any] = {
        "settings": live.settings,
        "lake": live.lake,
        "registry": live.registry,
        "clock": live.clock,
    }

    def passed(check: object) -> Any:
        return json.loads(json.dumps(to_plain(check)))

    return health_steps.generate_health_report(
        run_key=run_key,
        drift=passed(health_steps.detect_feature_drift(**given)),
        quality=passed(health_steps.check_feature_quality(**given, feature_store=live.store)),
        performance=passed(health_steps.monitor_model_performance(**given, holds=InMemoryHolds())),
        **given,
        events=live.events,
        wall_clock=live.wall_clock,
    )


def test_nothing_served_yet_is_undecided_not_an_error(live: Live) -> None:
    live.fill()
    report = steps(live)
    assert report.health == "undecided"
    assert "no version of autotrader-strategy is live yet" in report.reason
    assert "undecided" in Path(report.report).read_text()
    assert not live.events.events


def test_a_healthy_model_has_a_report_and_no_event(live: Live) -> None:
    live.fill()
    live.deploy()
    live.serve()
    report = steps(live)
    assert {name: c["decided"] for name, c in report.checks.items()} == {
        "drift": True, "quality": True, "performance": True
    }  # fmt: skip
    assert report.event is None
    folder = Path(report.report).parent
    assert sorted(p.name for p in folder.iterdir()) == ["evidently.html", "index.html", "verdict.json"]
    assert json.loads((folder / "verdict.json").read_text())["model"] == "v1.0.0"
    assert f"{folder.name}/index.html" in (folder.parent / "latest.html").read_text()
    text = Path(report.report).read_text()
    assert "http" not in text
    assert 'src="evidently.html"' in text


def test_a_broken_feature_is_critical_recorded_once_a_run_and_on_top_of_the_page(live: Live) -> None:
    live.fill()
    live.deploy()
    live.serve(change=lambda rows: rows.with_columns(pl.col("rsi_14") / 100))
    report = steps(live)
    assert report.health == "critical"
    assert report.moved[0]["name"] == "rsi_14"
    assert report.event == "health/autotrader-strategy/run"
    steps(live)
    assert list(live.events.events) == [report.event]
    text = Path(report.report).read_text()
    rows = text[text.index("Features that moved") :]
    assert rows.index("rsi_14") < rows.index("macd_line")
    assert "What to do" in text


def test_by_hand_it_exits_with_one_where_critical(live: Live) -> None:
    live.fill()
    live.deploy()
    live.serve(change=lambda rows: rows.with_columns(pl.col("rsi_14") / 100))
    result = live.report()
    assert result.exit_code is ExitCode.FAILED
    assert result.text.startswith("critical: v1.0.0, market time 2024-03-01 00:00 UTC")
    assert "report: " in result.text


def test_in_a_hurry_the_verdict_is_the_same_and_nothing_is_drawn(live: Live) -> None:
    live.deploy()
    live.serve(hours=3)
    quick = live.report(distributions=False)
    assert isinstance(quick.data, HealthReport)
    assert not Path(quick.data.report).with_name("evidently.html").exists()
    assert quick.text.partition("report: ")[0] == live.report().text.partition("report: ")[0]


def test_old_reports_are_deleted(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "_KEPT_REPORTS", 3)
    monkeypatch.setattr(page, "_KEPT_PAGES", 2)
    live.deploy()
    live.serve(hours=3)
    newest = Path([steps(live, f"run{i}") for i in range(5)][-1].report)
    folders = [p for p in newest.parent.parent.iterdir() if p.is_dir()]
    assert len(folders) == 3
    assert sum((p / "evidently.html").exists() for p in folders) == 2
