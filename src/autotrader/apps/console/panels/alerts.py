"""Alerts that are not over, each with the page that says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from autotrader.adapters.console_paths import runbook_url
from autotrader.alerts.sources import raisings
from autotrader.apps.console.panel import Filled, Missing, Panel
from autotrader.apps.console.sources import Sources
from autotrader.domain.alerts import Severity
from autotrader.ports.alerts import Alert, AlertEvent, AlertState, Raising
from autotrader.ports.events import Event

LIVE = (AlertState.OPEN, AlertState.ACKNOWLEDGED, AlertState.SUPPRESSED)
SHOWN = 50
_READ = 1_000  # the newest, of which the gravest are shown: an old critical one is not hidden by news
_NOT_TAKEN_UP = "not delivered yet"
# What the outbox has not taken up within a day is not news any more: its own alert tells of that.
_WINDOW = timedelta(days=1)
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class AlertLine:
    """One alert as it is shown."""

    name: str
    severity: Severity
    state: str
    message: str
    instrument: str | None
    at: datetime
    count: int
    by: str | None
    runbook: str | None


def read(sources: Sources) -> Filled | Missing:
    """Of the outbox, and of events that it has not taken up yet: nothing waits for a delivery to be seen."""
    alerts, now = sources.alerts(), sources.clock.now()
    live = alerts.list(states=LIVE, limit=_READ)
    events = alerts.history(start=now - _WINDOW, end=now + _TICK, limit=_READ)
    known = {alert.fingerprint for alert in live}
    waiting = _waiting([event for event in events if event.alert is None], known)
    lines = [_of_alert(sources, alert) for alert in live] + [_of_raising(sources, one) for one in waiting]
    lines.sort(key=lambda line: (-line.severity.rank, -line.at.timestamp()))
    if not lines:
        return Missing("No alert is open.")
    return Filled({"lines": lines[:SHOWN], "more": len(lines) > SHOWN})


def _waiting(events: list[AlertEvent], known: set[str]) -> list[Raising]:
    """The newest word on each alert that the outbox does not know of, without those that are over."""
    newest: dict[str, Raising] = {}
    for entry in events:
        event = Event(
            entry.key, entry.type, entry.severity, entry.message, entry.actor, entry.at,
            entry.instrument, entry.data,
        )  # fmt: skip
        for raising in raisings(event):
            newest.setdefault(raising.fingerprint, raising)
    return [r for r in newest.values() if not r.resolved and r.fingerprint not in known]


def _of_alert(sources: Sources, alert: Alert) -> AlertLine:
    return AlertLine(
        name=alert.name,
        severity=Severity(alert.severity),
        state=AlertState(alert.state).value,
        message=alert.message,
        instrument=alert.instrument,
        at=alert.last_at,
        count=alert.count,
        by=alert.acknowledged_by,
        runbook=_runbook(sources, alert.runbook),
    )


def _of_raising(sources: Sources, raising: Raising) -> AlertLine:
    return AlertLine(
        name=raising.name,
        severity=Severity(raising.severity),
        state=_NOT_TAKEN_UP,
        message=raising.message,
        instrument=raising.instrument,
        at=raising.at,
        count=1,
        by=None,
        runbook=_runbook(sources, raising.runbook),
    )


def _runbook(sources: Sources, path: str) -> str | None:
    return runbook_url(sources.airflow_root, sources.settings.monitoring.runbook_url, path)


ALERTS = Panel("alerts", "Open alerts", read, span="wide")
