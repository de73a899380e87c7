"""What rules name is exported, and what is exported is in the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from autotrader import measuring
from autotrader.alerts.relayed import PEOPLE
from autotrader.apps.api.metrics import ApiMetrics
from autotrader.apps.serving.metrics import ServingMetrics
from autotrader.apps.trader.metrics import TradingMetrics
from autotrader.domain.alert_rules import RULES, AlertRule, Shown
from autotrader.domain.alerts import Severity
from autotrader.domain.metrics import METRICS, Kind, Process, Profile
from autotrader.domain.service_levels import LEVELS, recordings
from autotrader.domain.thresholds import ALERTS
from autotrader.monitoring.expressions import faults_of, metrics_of
from tests.trading import BTC, World, walk

# Half an hour of trading is too little for these figures.
MISSING: dict[Process, set[str]] = {
    Process.SERVING: set(),
    Process.API: set(),
    Process.TRADER: {"trading_sharpe_ratio", "trading_risk_var_95"},
}
NAMED_MS = re.compile(r"(?:\}\}|\{value\}) ?(ms|milliseconds)\b")


def ids(rule: AlertRule) -> str:
    return f"{rule.name} {rule.severity}"


def faults_of_rule(rule: AlertRule) -> list[str]:
    """What a rule can have wrong that Prometheus does not mind."""
    shown = NAMED_MS.search(rule.summary)
    found = faults_of(rule.expression, shown=shown.group(1) if shown else "")
    if "{value}" not in rule.summary:
        found.append("expected the number in the summary, was none")
    if rule.severity not in PEOPLE:
        found.append("expected a severity that has a route")
    if not re.fullmatch(r"alerts/[A-Z][A-Za-z]+\.md", rule.runbook):
        found.append(f"expected a page below alerts/, was {rule.runbook}")
    return found


@pytest.mark.parametrize("rule", RULES, ids=ids)
def test_a_rule_names_what_is_exported_and_tells_a_number_and_a_page(rule: AlertRule) -> None:
    assert faults_of_rule(rule) == []


def test_service_levels_are_measured_by_what_is_exported() -> None:
    assert [fault for each in recordings() for fault in faults_of(each.expression)] == []
    assert {each.slo for each in recordings()} == {level.name for level in LEVELS}


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ({"expression": "trading_profits > 1"}, "expected a metric that something exports"),
        ({"expression": "http_request_duration_seconds > 1"}, "expected a metric that something exports"),
        (
            {"expression": "rate(trading_pnl_total[5m]) > 1"},
            "expected rate() of a counter, was trading_pnl_total",
        ),
        ({"expression": "sum(increase(queue_length[1h])) > 1"}, "expected increase() of a counter"),
        ({"expression": "deriv(http_requests_total[5m]) > 1"}, "expected deriv() of a gauge"),
        (
            {
                "expression": "job_oldest_running_seconds > 1",
                "summary": "It takes {value} ms",
            },
            "expected seconds to be shown as seconds",
        ),
        ({"summary": "Something is wrong"}, "expected the number in the summary"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value.values())),
)
def test_a_planted_fault_is_found(planted: dict[str, str], said: str) -> None:
    good = RULES[0]
    fields = {"expression": good.expression, "summary": good.summary, **planted}
    bad = AlertRule(good.name, Severity.CRITICAL, good.group, shown=Shown.NUMBER, **fields)

    assert any(fault.startswith(said) for fault in faults_of_rule(bad))


def test_milliseconds_that_were_multiplied_are_milliseconds() -> None:
    assert faults_of("job_oldest_running_seconds * 1000", shown="ms") == []


def test_matchers_ranges_groupings_and_strings_name_no_metric() -> None:
    expression = (
        'sum by (service, le) (rate(http_requests_total{status=~"up[5m]{}",service="api"}[5m:30s] offset 1h))'
        " / on (service) group_left (color) up > bool 1e3 unless on () vector(0)"
    )

    assert metrics_of(expression) == {"http_requests_total", "up"}


def test_a_rule_needs_no_profile_that_its_group_has_not() -> None:
    needed = {series: metric.profile for metric in METRICS for series in metric.series}

    for rule in RULES:
        profiles = {needed.get(name) for name in metrics_of(rule.expression)} - {None}
        assert profiles <= {rule.group.profile}, rule.name


def test_the_cache_has_no_rule_before_it_has_metrics() -> None:
    assert not any(metric.profile is Profile.CACHE for metric in METRICS)
    assert "CacheHitRateLow" not in {rule.name for rule in RULES}


def test_a_notice_leaves_within_thirty_seconds_of_its_time() -> None:
    wait = max(ALERTS.group_wait, ALERTS.group_interval)

    assert (ALERTS.scrape + ALERTS.evaluation + wait).total_seconds() <= 30


def test_a_metric_is_listed_once_and_counters_end_in_total() -> None:
    names = [metric.name for metric in METRICS]

    assert len(names) == len(set(names))
    assert {m.name for m in METRICS if m.kind is Kind.COUNTER and not m.name.endswith("_total")} == set()


# ------------------------------------------------------------------------------- processes


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory) -> dict[Process, CollectorRegistry]:
    """The pages of the processes, after something happened in each."""
    serving = ServingMetrics(in_progress=lambda: 0.0, log_bytes=lambda: 0.0)
    serving.requests.observe(b"POST", b"/predict", 200, 0.001)
    api = ApiMetrics()
    api.observe("GET", "/health", 200, 0.001)
    world = World(tmp_path_factory.mktemp("traded"), walk((BTC,), 30), instruments=(BTC,))
    trading = TradingMetrics(world.settings, world.records, world.account)
    world.run(watch=trading.take)
    return {
        Process.SERVING: serving.registry,
        Process.API: api.registry,
        Process.TRADER: trading.registry,
    }


@pytest.mark.parametrize("process", [Process.SERVING, Process.API, Process.TRADER])
def test_the_page_of_a_process_is_what_the_catalogue_says(
    process: Process, registries: dict[Process, CollectorRegistry]
) -> None:
    of_users = {name for name, _, _ in _families(measuring.REGISTRY)}  # as other tests measured
    shown = {
        name: (kind, labels) for name, kind, labels in _families(registries[process]) if name not in of_users
    }
    listed = {metric.name: metric for metric in METRICS if process in metric.processes}

    assert set(shown) <= set(listed)
    assert set(listed) - set(shown) == MISSING[process]
    for name, (kind, labels) in shown.items():
        assert kind is listed[name].kind, name
        assert labels <= set(listed[name].labels), name


def _families(registry: CollectorRegistry) -> Iterator[tuple[str, Kind, set[str]]]:
    for family in registry.collect():
        kind = Kind.GAUGE if family.type == "info" else Kind(family.type)
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels = {label for sample in family.samples for label in sample.labels if label != "le"}
        yield family.name + suffix, kind, labels
