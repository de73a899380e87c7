"""Say that somebody is on it."""

from __future__ import annotations

from autotrader import command
from autotrader.alerts.changes import audit
from autotrader.config.actor import operator
from autotrader.ports.alerts import Alerts
from autotrader.ports.clock import WallClock


def acknowledge(*, id: str, alerts: Alerts, clock: WallClock) -> command.Result:
    """Acknowledge an alert: it is not escalated, and not told again unless it gets worse.

    Parameters
    ----------
    id : str
        Of the alert, as `autotrader alerts list` shows it.
    """
    actor, now = operator(), clock.now()
    event = audit("alert-acknowledged", id, f"{actor} is on alert {id}", actor=actor, at=now)
    changed = alerts.acknowledge(id, actor=actor, now=now, event=event)
    alert = alerts.get(id)
    by = f" by {alert.acknowledged_by}" if alert.acknowledged_by else ""
    said = f"{alert.name} {id} is {alert.state}{by}" + ("" if changed else ": nothing was done")
    return command.Result({"id": id, "state": alert.state, "changed": changed}, said)


if __name__ == "__main__":
    raise SystemExit(command.run(acknowledge))
