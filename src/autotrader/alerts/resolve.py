"""Say that it is over."""

from __future__ import annotations

from autotrader import command
from autotrader.alerts.changes import audit
from autotrader.alerts.wording import one_line
from autotrader.config.actor import operator
from autotrader.domain.errors import ConfigurationError
from autotrader.ports.alerts import Alerts
from autotrader.ports.clock import WallClock


def resolve(*, id: str, reason: str, alerts: Alerts, clock: WallClock) -> command.Result:
    """Resolve an alert; whoever was told of it is told that it is over.

    Parameters
    ----------
    id : str
        Of the alert, as `autotrader alerts list` shows it.
    reason : str
        What was done.
    """
    why = one_line(reason)
    if not why:
        raise ConfigurationError("expected --reason, was empty: say what was done")
    actor, now = operator(), clock.now()
    event = audit("alert-resolved", id, f"{actor} resolved alert {id}: {why}", actor=actor, at=now)
    changed = alerts.resolve(id, actor=actor, reason=why, now=now, event=event)
    alert = alerts.get(id)
    said = f"{alert.name} {id} is {alert.state} by {alert.resolved_by}"
    return command.Result(
        {"id": id, "state": alert.state, "changed": changed},
        said if changed else f"{said}: nothing was done",
    )


if __name__ == "__main__":
    raise SystemExit(command.run(resolve))
