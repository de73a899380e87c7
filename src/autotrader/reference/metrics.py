"""The page about metrics, from the catalogue."""

from __future__ import annotations

from collections.abc import Iterator

from autotrader.domain.alert_rules import RULES
from autotrader.domain.metrics import METRICS, Metric, Process
from autotrader.monitoring.expressions import metrics_of
from autotrader.reference.markdown import code, paragraph, table, words

_PORTS = {
    Process.SERVING: "8000 (blue), 8001 (green)",
    Process.API: "8010",
    Process.TRADER: "9091",
    Process.EXPORTER: "9092",
}


def metrics() -> Iterator[str]:
    """Lines of the page."""
    yield "# Metrics"
    yield ""
    yield from paragraph(
        "What is measured, by the process whose page has it. Rules, panels and runbooks may name "
        "nothing else; a test compares this list with the pages of running processes."
    )
    yield from paragraph(
        "Units are base units: seconds, bytes, ratios from 0 to 1. A counter's name ends in `_total`. "
        "A histogram has the series `_bucket`, `_sum` and `_count`. Prometheus adds `job`, `instance` "
        "and, to ours, `service`. [Adding a metric](adding-a-metric.md) says how one gets here. "
        "[Alerts](alerts.md) has the rules."
    )
    for process in Process:
        found = [metric for metric in METRICS if process in metric.processes]
        if not found:
            continue
        yield ""
        yield f"## {process.value.capitalize()}"
        yield ""
        if process in _PORTS:
            yield f"`/metrics` on port {_PORTS[process]}, unless the settings say otherwise."
            yield ""
        yield from table(
            ["metric", "kind", "labels", "unit", "meaning", "alerts"], (_row(metric) for metric in found)
        )


def _row(metric: Metric) -> tuple[str, ...]:
    meaning = words(metric.help)
    if metric.profile:
        meaning += f" (only with {metric.profile.value})"
    alerts = sorted({rule.name for rule in RULES if metrics_of(rule.expression) & set(metric.series)})
    return (
        code(metric.name),
        metric.kind.value,
        ", ".join(map(code, metric.labels)) or "–",
        metric.unit.value or "–",
        meaning,
        ", ".join(f"[{name}](alerts.md#{name.lower()})" for name in alerts) or "–",
    )
