"""From alerts to the message that tells of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from autotrader.alerts.wording import one_line
from autotrader.domain.alerts import Severity
from autotrader.ports.alerts import Alert, AlertState, Line, Message

MOST_TITLE = 200
_URL = ("http://", "https://")


def message(
    alerts: Sequence[Alert],
    *,
    key: str,
    firing: bool,
    total: int,
    severity: Severity,
    names: Sequence[str],
    base: str,
    at: datetime,
    acknowledged: bool = False,
) -> Message:
    """One message for all of them.

    Parameters
    ----------
    alerts : sequence of Alert
        The newest of them, at least one.
    total : int
        How many there are.
    severity : Severity
        The highest of all.
    names : sequence of str
        Names of all.
    base : str
        What a runbook's path is added to.
    acknowledged : bool
        Of a pager's incident that goes on: somebody is on all of it.
    """
    is_asked = firing and not acknowledged
    escalation = max((alert.escalations for alert in alerts), default=0) if is_asked else 0
    state = severity.upper() if is_asked else "ACKNOWLEDGED" if firing else "RESOLVED"
    return Message(
        key=key,
        firing=firing,
        severity=severity,
        title=_title(alerts, total, names, state=state, escalation=escalation),
        lines=tuple(line_of(alert, base) for alert in alerts),
        total=total,
        escalation=escalation,
        at=at,
        acknowledged=acknowledged,
    )


def runbook_url(runbook: str, base: str) -> str:
    """Where the page is; a URL is left as it is."""
    return runbook if not runbook or runbook.startswith(_URL) else f"{base}/{runbook}"


def plain_text(message: Message) -> str:
    """All that is known, in lines; of the text that others wrote, nothing is markup."""
    lines = [message.title, ""]
    for line in message.lines:
        times = f" ({line.count} times)" if line.count > 1 else ""
        lines.append(f"[{line.severity}] {line.name}: {line.message}{times}")
        where = f"{line.instrument}, " if line.instrument else ""
        lines.append(f"    {where}{line.state}, since {line.first_at:%Y-%m-%d %H:%M:%S} UTC, id {line.id}")
        if line.runbook:
            lines.append(f"    {line.runbook}")
    if message.total > len(message.lines):
        lines.append(f"and {message.total - len(message.lines):,} more: `autotrader alerts list`")
    return "\n".join(lines)


def _title(
    alerts: Sequence[Alert],
    total: int,
    names: Sequence[str],
    *,
    state: str,
    escalation: int,
) -> str:
    late = "NOBODY ACKNOWLEDGED, " if escalation else ""
    if total == 1:
        return one_line(f"[{late}{state}] {alerts[0].name}: {alerts[0].message}", MOST_TITLE)
    kinds = Counter(names)
    what = names[0] if len(kinds) == 1 else f"{len(kinds)} kinds"
    return one_line(f"[{late}{state}] {total:,} alerts: {what}: {alerts[0].message}", MOST_TITLE)


def line_of(alert: Alert, base: str) -> Line:
    """The alert as it is told."""
    return Line(
        id=alert.id,
        fingerprint=alert.fingerprint,
        name=alert.name,
        severity=alert.severity,
        state=alert.state,
        message=alert.message,
        runbook=runbook_url(alert.runbook, base),
        instrument=alert.instrument,
        count=alert.count,
        first_at=alert.first_at,
        last_at=alert.last_at,
        resolved_at=alert.resolved_at if alert.state is AlertState.RESOLVED else None,
    )
