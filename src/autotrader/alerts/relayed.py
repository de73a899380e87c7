"""Alerts that Alertmanager tells people of, as our own files set it up: who they are, and whom it tells.

What it is told is generated from here, and what it has told is known again by it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta

from autotrader.domain.alerts import Severity
from autotrader.domain.thresholds import ALERTING, ALERTS
from autotrader.ports.alerts import ChannelName

RELAYED = "alertmanager"  # value of `source`, and what fingerprints and incidents of such alerts begin with

MOST_RELAYED = 1_000  # alerts of one request to the platform
GROUPED_BY = ("alertname", "severity", "service")  # an incident of a pager is a group of alerts
PEOPLE: Mapping[Severity, tuple[ChannelName, timedelta]] = {
    Severity.CRITICAL: (ChannelName.PAGERDUTY, ALERTS.critical_repeat),
    Severity.WARNING: (ChannelName.SLACK, ALERTS.warning_repeat),
    Severity.INFO: (ChannelName.EMAIL, ALERTS.info_repeat),
}
"""Whom it tells of which, and how often again."""


def fingerprint_of(labels: Mapping[str, str]) -> str:
    """Alerts of the same labels are the same alert.

    Not Alertmanager's own word for it: an empty one, or one of somebody else's, must not end another.
    """
    digest = hashlib.sha256(repr(sorted(labels.items())).encode()).hexdigest()[:16]
    return f"{RELAYED}/{digest}"


def matcher_of(severity: str) -> str:
    """Of the route of that severity."""
    return f'severity="{severity}"'


def incident_of(labels: Mapping[str, str]) -> str | None:
    """Key of the pager's incident that it belongs to, which `dedup_key` takes; None where none is made.

    Alertmanager's `dedup_key` is the SHA-256 of the route and the labels of the group.
    """
    severity = labels.get("severity", "")
    if severity not in set(PEOPLE):
        return None
    group = ", ".join(f"{name}={_quoted(labels[name])}" for name in sorted(GROUPED_BY) if name in labels)
    key = f"{{}}/{{{matcher_of(severity)}}}:{{{group}}}"
    return f"{RELAYED}/{hashlib.sha256(key.encode()).hexdigest()}"


def dedup_key(key: str) -> str:
    """A message's key as PagerDuty knows the incident: Alertmanager's own, or one of ours."""
    return key.removeprefix(f"{RELAYED}/") if key.startswith(f"{RELAYED}/") else f"autotrader/{key}"


def patience(severity: Severity) -> timedelta:
    """How long nobody must have known of an alert before it counts as over.

    Until Prometheus has ceased to say that it cleared, and Alertmanager would repeat it: were it to come
    back after we said that it is over, it is told at once.
    """
    return max(ALERTING.relayed_silence, PEOPLE[severity][1])


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
