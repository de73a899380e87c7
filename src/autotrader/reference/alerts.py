"""The page about alerts, from the rules and from what the application raises by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator

from autotrader.alerts.relayed import PEOPLE
from autotrader.domain.alert_rules import RULES, AlertRule
from autotrader.domain.runbooks import APPLICATION_ALERTS
from autotrader.domain.service_levels import promql_duration
from autotrader.ports.alerts import ChannelName
from autotrader.reference.markdown import paragraph, words

_WAYS = {
    ChannelName.PAGERDUTY: "a page",
    ChannelName.SLACK: "a message in Slack",
    ChannelName.EMAIL: "a mail",
}
_NEWS = {
    "ModelPromoted": "a model was promoted",
    "DeploymentCompleted": "a deployment was completed",
}


def alerts() -> Iterator[str]:
    """Lines of the page."""
    yield "# Alerts"
    yield ""
    yield from paragraph(
        "Everything that tells a person something. Each alert of Prometheus, and each of the "
        "application's that asks for something, has a runbook. Numbers come from "
        "`src/autotrader/domain/thresholds.py`."
    )
    yield "| severity | route |"
    yield "|---|---|"
    for severity, (channel, repeat) in PEOPLE.items():
        yield f"| {severity.value} | {_WAYS[channel]}, again every {promql_duration(repeat)} |"
    yield ""
    yield "## Rules of Prometheus"
    for name in dict.fromkeys(rule.name for rule in RULES):
        yield ""
        yield f"### {name}"
        yield ""
        yield from _rule([rule for rule in RULES if rule.name == name])
    yield ""
    yield "## Raised by the application"
    yield ""
    yield from paragraph("They go through the outbox (`autotrader alerts list`), with or without Prometheus.")
    yield "| alert | when | runbook |"
    yield "|---|---|---|"
    for name, when in sorted(APPLICATION_ALERTS.items()):
        yield f"| {name} | {words(when)} | [page](../runbooks/alerts/{name}.md) |"
    for name, when in _NEWS.items():
        yield f"| {name} | {words(when)} | none: it is news |"
    yield ""
    yield from paragraph(
        "Also by mail, and no alerts: the daily summary, the weekly report, the digest of executions, "
        "and a letter for each recovery of a trader. The [user manual](user-manual.md) has them."
    )


def _rule(rules: list[AlertRule]) -> Iterator[str]:
    for rule in rules:
        hold = f" for {promql_duration(rule.hold)}" if rule.hold else ""
        profile = f"; only with {rule.group.profile.value}" if rule.group.profile else ""
        yield f"**{rule.severity.value}**{hold}{profile}: {words(_said(rule))}."
        yield ""
        yield "```promql"
        yield rule.expression
        yield "```"
        yield ""
        if rule.keep_firing:
            yield from paragraph(f"Over once that has not held for {promql_duration(rule.keep_firing)}.")
    yield from paragraph(f"[Runbook](../runbooks/{rules[0].runbook})")


def _said(rule: AlertRule) -> str:
    """The summary without Prometheus's own braces."""
    text = re.sub(r"{{ \$labels\.(\w+) }}", r"<\1>", rule.summary.replace("{value}", "…"))
    if "{{ with" in text:
        text = "<instrument or feature>" + text[text.rindex("{{ end }}") + len("{{ end }}") :]
    return text
