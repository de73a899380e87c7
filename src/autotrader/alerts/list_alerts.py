"""Show alerts."""

from __future__ import annotations

from autotrader import command
from autotrader.alerts.messages import runbook_url
from autotrader.config.settings import Settings
from autotrader.ports.alerts import Alerts, AlertState

_UNSETTLED = (AlertState.OPEN, AlertState.ACKNOWLEDGED, AlertState.SUPPRESSED)


def list_alerts(
    *,
    state: tuple[AlertState, ...] = _UNSETTLED,
    limit: int = 100,
    dead_letters: bool = False,
    alerts: Alerts,
    settings: Settings,
) -> command.Result:
    """Show alerts, newest first, each with its runbook; by default those that are not resolved.

    Parameters
    ----------
    state : tuple of AlertState
        Of these states.
    limit : int
        At most so many.
    dead_letters : bool
        Show messages that were given up instead; `autotrader alerts requeue` tries one again.
    """
    if dead_letters:
        dead = alerts.dead_letters(limit=limit)
        shown = [
            f"{one.id}  {one.channel:<10} {one.created_at:%F %T} UTC  {one.message.title}\n"
            f"    given up after {one.attempts} tries: {one.last_error}"
            for one in dead
        ]
        return command.Result({"dead_letters": dead}, "\n".join(shown) or "no message was given up")
    base = settings.monitoring.runbook_url
    found = alerts.list(states=state, limit=limit)
    lines = []
    for alert in found:
        times = f" ({alert.count} times)" if alert.count > 1 else ""
        who = f" by {alert.acknowledged_by}" if alert.acknowledged_by else ""
        lines.append(
            f"{alert.id}  {alert.severity:<9}{alert.state}{who}  {alert.first_at:%F %T} UTC  "
            f"{alert.name}: {alert.message}{times}"
        )
        if alert.runbook:
            lines.append(f"    {runbook_url(alert.runbook, base)}")
    return command.Result({"alerts": found}, "\n".join(lines) or "no alerts")


if __name__ == "__main__":
    raise SystemExit(command.run(list_alerts))
