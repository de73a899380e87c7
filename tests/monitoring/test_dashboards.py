"""Dashboards show what is exported, in its unit, with the agreed thresholds, and lead to the runbooks."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from autotrader.config.settings import Settings
from autotrader.domain.alert_rules import RULES
from autotrader.domain.errors import ExitCode
from autotrader.domain.metrics import EXPORTER_METRICS, METRICS, Metric, Profile, Unit
from autotrader.monitoring.dashboards.catalogue import DASHBOARDS
from autotrader.monitoring.dashboards.grafana import SOURCE
from autotrader.monitoring.dashboards.panels import Dashboard, Look, Panel, Query, Shown
from autotrader.monitoring.expressions import faults_of, metrics_of
from autotrader.monitoring.rules import rules
from autotrader.monitoring.scene import Hosts

FOLDER = Path("monitoring/dashboards")
SERIES: dict[str, Metric] = {
    series: metric for metric in METRICS + EXPORTER_METRICS for series in metric.series
}
PANELS = [(dashboard, panel) for dashboard in DASHBOARDS for panel in dashboard.panels()]

# Section 14 of the contract: what each dashboard shows, and from where on its colour changes.
AGREED: dict[str, dict[str, tuple[float, ...]]] = {
    "system_metrics": {
        "CPU": (0.70, 0.90),
        "Memory": (0.80, 0.95),
        "Request rate": (),
        "Error rate": (0.005, 0.01),
        "Latency of predictions": (0.100, 0.200),
        "Database connections": (0.80, 0.95),
        "Disk": (0.85,),
        "Network": (),
    },
    "trading_metrics": {
        "Current PnL": (0,),
        "Daily PnL": (0,),
        "Sharpe ratio": (1.5, 2.0),
        "Win rate": (0.50, 0.55),
        "PnL by instrument": (),
        "Trades per minute": (),
        "Position sizes": (),
        "Max drawdown": (10, 15),
        "Circuit breaker": (),
        "Profit factor": (1.0, 1.5),
        "Active positions": (),
    },
    "platform_operations": {
        "Workers": (1,),
        "Queue lengths": (100,),
        "Dead letters": (1, 10),
        "Jobs per hour": (),
        "Job duration": (),
        "API latency, p95": (1.0,),
        "DAG success": (0.95,),
        "Data freshness": (),
        "Data overdue": (3600, 7200),
        "PSI by feature": (0.2, 0.3),
        "Deployment stage": (),
        "Deployment colour": (),
        "Redis": (),
        "Redis connections": (),
        "Redis memory": (),
        "Pending jobs": (100,),
        "Processing rate": (),
        "Service levels": (),
        "Error budget burn": (1.0, 14.4),
    },
}


def faults_of_panel(panel: Panel) -> list[str]:
    """What a panel can have wrong that Grafana does not mind."""
    found = [f for query in panel.queries for f in faults_of(query.expression, shown=panel.shown.value)]
    for query in panel.queries:
        units = {SERIES[name].unit for name in metrics_of(query.expression) if name in SERIES}
        in_percent = Unit.PERCENT in units
        if units and in_percent is not (panel.shown is Shown.PERCENT):
            found.append(f"expected percent to be shown as percent and nothing else, was {panel.shown.name}")
        if "/" not in query.expression:
            found += _wrong_sizes(query.expression, units, panel.shown)
    needed = {SERIES[n].profile for q in panel.queries for n in metrics_of(q.expression) if n in SERIES}
    if needed - {None, panel.profile}:
        found.append(f"expected a panel of the profile of its metrics, was {panel.profile}")
    if not panel.description.endswith("."):
        found.append("expected a description in sentences")
    return found


def _wrong_sizes(expression: str, units: set[Unit], shown: Shown) -> list[str]:
    a_second = "rate(" in expression
    wanted = {
        Unit.BYTES: Shown.BYTES_A_SECOND if a_second else Shown.BYTES,
        Unit.MONEY: Shown.MONEY,
        Unit.RATIO: Shown.SHARE,
        Unit.TIMESTAMP: Shown.SECONDS,
    }
    if "quantile" in expression or not a_second:
        wanted[Unit.SECONDS] = Shown.SECONDS
    if "count" in expression:
        return []
    return [
        f"expected {unit.value} to be shown as {wanted[unit].name}, was {shown.name}"
        for unit in units
        if unit in wanted and wanted[unit] is not shown
    ]


def ids(value: object) -> str:
    return f"{value.title}" if isinstance(value, Panel) else f"{getattr(value, 'name', value)}"


@pytest.mark.parametrize(("dashboard", "panel"), PANELS, ids=ids)
def test_a_panel_shows_what_is_exported_in_its_unit(dashboard: Dashboard, panel: Panel) -> None:
    assert faults_of_panel(panel) == []


@pytest.mark.parametrize(("dashboard", "panel"), PANELS, ids=ids)
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("a metric that nothing exports", "expected a metric that something exports"),
        ("a counter's function on a gauge", "expected rate() of a counter, was trading_pnl_total"),
        ("seconds as milliseconds", "expected seconds to be shown as seconds"),
    ],
)
def test_each_classic_fault_would_be_found_in_each_query_of_each_panel(
    dashboard: Dashboard, panel: Panel, fault: str, said: str
) -> None:
    for number in range(len(panel.queries)):
        broken = break_query(panel.queries[number], fault)
        shown = "ms" if fault.startswith("seconds") else panel.shown.value
        assert any(each.startswith(said) for each in faults_of(broken.expression, shown=shown)), broken


def break_query(query: Query, fault: str) -> Query:
    """The query with the fault where its first metric stands."""
    name = min(metrics_of(query.expression), key=query.expression.index)
    planted = {
        "a metric that nothing exports": f"{name}_that_nobody_exports",
        "a counter's function on a gauge": f"rate(trading_pnl_total[5m]) + {name}",
        "seconds as milliseconds": f"job_oldest_running_seconds + {name}",
    }[fault]
    return Query(query.expression.replace(name, planted, 1), query.legend)


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ({"shown": Shown.SHARE}, "expected seconds to be shown as SECONDS"),
        ({"shown": Shown.PERCENT}, "expected percent to be shown as percent"),
        (
            {"queries": (Query("node_memory_MemTotal_bytes"),)},
            "expected bytes to be shown as BYTES, was SECONDS",
        ),
        ({"queries": (Query("redis_up"),)}, "expected a panel of the profile of its metrics"),
        ({"description": "latency"}, "expected a description in sentences"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_unit_profile_or_description_is_found(planted: dict[str, Any], said: str) -> None:
    good = Panel(
        "Age", "How old it is.", (Query("job_oldest_running_seconds"),), shown=Shown.SECONDS, width=8
    )
    assert faults_of_panel(good) == []

    assert any(fault.startswith(said) for fault in faults_of_panel(dataclasses.replace(good, **planted)))


# ---------------------------------------------------------------------------- what was agreed


@pytest.mark.parametrize("name", AGREED)
def test_a_dashboard_has_the_agreed_panels_with_their_thresholds(name: str) -> None:
    written = json.loads((FOLDER / f"{name}.json").read_text())["panels"]
    steps = {
        panel["title"]: tuple(
            step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1:]
        )
        for panel in written
        if panel["type"] != "row"
    }

    assert {title: steps.get(title) for title in AGREED[name]} == AGREED[name]


def test_active_positions_are_a_table_and_nothing_is_said_of_the_cache_yet() -> None:
    types = {panel.title: panel.look.value for _, panel in PANELS}

    assert types["Active positions"] == "table"
    assert not any("cache" in title.lower() for title in types)
    assert not any(metric.profile is Profile.CACHE for metric in METRICS)


def test_a_number_is_of_this_moment_and_says_what_is_missing() -> None:
    for name in AGREED:
        for panel in _panels(FOLDER / f"{name}.json"):
            if panel["type"] == "stat":
                # Of a range, the last value that there was stays for hours after its source has ended.
                (target,) = panel["targets"]
                assert (target["instant"], target["range"]) == (True, False), panel["title"]
                assert panel["options"]["graphMode"] == "none"
    trading = [p for d, p in PANELS if d.name == "trading_metrics" and p.look is Look.NUMBER]
    assert [panel.title for panel in trading if not panel.if_empty] == []


def test_what_comes_with_bars_is_averaged_over_more_than_one_of_them() -> None:
    for dashboard, panel in PANELS:
        if dashboard.name == "trading_metrics":
            assert not [q for q in panel.queries if "$__rate_interval" in q.expression], panel.title


def test_a_zero_stands_in_for_all_severities_together() -> None:
    (panel,) = (panel for _, panel in PANELS if panel.title == "Alerts that fire")
    assert panel.queries[0].expression.endswith("or on () vector(0)")


def test_every_alert_has_a_panel_that_leads_to_its_page_and_no_link_leads_elsewhere() -> None:
    linked = {name for _, panel in PANELS for name in panel.alerts}
    assert linked == {rule.name for rule in RULES}

    pages = {f"runbooks/alerts/{rule.name}.md" for rule in RULES}
    urls = {
        link["url"] for path in FOLDER.glob("*.json") for panel in _panels(path) for link in panel["links"]
    }
    assert urls == pages


def _panels(path: Path) -> list[dict[str, Any]]:
    return [panel for panel in json.loads(path.read_text())["panels"] if panel["type"] != "row"]


# -------------------------------------------------------------------------- the files as written


def test_uids_and_titles_are_those_that_bookmarks_hold() -> None:
    written = {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}

    assert {name: (each["uid"], each["title"]) for name, each in written.items()} == {
        "system_metrics": ("autotrader-system-metrics", "System metrics"),
        "trading_metrics": ("autotrader-trading-metrics", "Trading metrics"),
        "platform_operations": ("autotrader-platform-operations", "Platform operations"),
    }


@pytest.mark.parametrize("name", AGREED)
def test_panels_have_a_number_a_place_and_a_source_of_their_own(name: str) -> None:
    dashboard = json.loads((FOLDER / f"{name}.json").read_text())
    sources = yaml.safe_load(Path("monitoring/grafana/provisioning/datasources/prometheus.yml").read_text())
    assert [source["uid"] for source in sources["datasources"]] == [SOURCE]

    numbers = [panel["id"] for panel in dashboard["panels"]]
    titles = [panel["title"] for panel in _panels(FOLDER / f"{name}.json")]
    assert len(numbers) == len(set(numbers))
    assert len(titles) == len(set(titles))
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in _panels(FOLDER / f"{name}.json"):
        assert {t["datasource"]["uid"] for t in panel["targets"]} | {panel["datasource"]["uid"]} == {SOURCE}


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=ids)
def test_a_variable_that_is_used_is_there_and_one_that_is_there_is_used(dashboard: Dashboard) -> None:
    text = "".join(query.expression for panel in dashboard.panels() for query in panel.queries)

    for variable in dashboard.variables:
        assert f'{variable.name}=~"${variable.name}"' in text
        assert faults_of(variable.series) == []
    used = set(re.findall(r"\$(\w+)", text)) - {"__rate_interval"}
    assert used == {variable.name for variable in dashboard.variables}


def written(folder: Path, profiles: tuple[str, ...] = (), **settings: Any) -> dict[str, set[str]]:
    monitoring = {"profiles": profiles, "runbook_url": "https://docs.example.com/runbooks"}
    made = Settings(monitoring=monitoring, **settings)  # type: ignore[arg-type]
    assert rules(settings=made, folder=folder, hosts=Hosts.COMPOSE).exit_code is ExitCode.DONE
    return {
        path.stem: {panel["title"] for panel in _panels(path)}
        for path in (folder / "dashboards").glob("*.json")
    }


def test_panels_of_what_is_not_there_are_absent(tmp_path: Path) -> None:
    without = written(tmp_path / "embedded")
    everything = written(tmp_path / "all", ("postgres", "redis", "distributed"))

    conditional = {panel.title for _, panel in PANELS if panel.profile is not None}
    assert {"Workers", "Redis", "Database connections"} <= conditional
    assert not conditional & set().union(*without.values())
    assert conditional <= set().union(*everything.values())
    rows = [p["title"] for p in json.loads((tmp_path / "embedded/dashboards/platform_operations.json")
            .read_text())["panels"] if p["type"] == "row"]  # fmt: skip
    assert "Redis" not in rows


def test_links_money_and_data_source_are_of_the_environment(tmp_path: Path) -> None:
    written(tmp_path, trading={"base_currency": "EUR"})

    breaker = next(
        panel
        for panel in _panels(tmp_path / "dashboards" / "trading_metrics.json")
        if panel["title"] == "Circuit breaker"
    )
    page = "https://docs.example.com/runbooks/alerts/CircuitBreakerTripped.md"
    assert [link["url"] for link in breaker["links"]] == [page]
    assert '"unit": "suffix: EUR"' in (tmp_path / "dashboards" / "trading_metrics.json").read_text()
    source = yaml.safe_load((tmp_path / "grafana/provisioning/datasources/prometheus.yml").read_text())
    assert source["datasources"][0]["url"] == "http://prometheus:9090"


def test_a_dashboard_that_was_changed_and_one_that_is_nobodys_are_found(tmp_path: Path) -> None:
    written(tmp_path)
    path = tmp_path / "dashboards" / "system_metrics.json"
    path.write_text(path.read_text().replace('"CPU"', '"Processor"'))
    (tmp_path / "dashboards" / "old.json").write_text("{}")
    made = Settings(monitoring={"runbook_url": "https://docs.example.com/runbooks"})  # type: ignore[arg-type]

    result = rules(settings=made, folder=tmp_path, hosts=Hosts.COMPOSE, check=True)

    assert result.exit_code is ExitCode.FAILED
    assert [Path(path).name for path in result.data["stale"]] == ["system_metrics.json", "old.json"]  # type: ignore[index]
