"""What becomes of an alert when an event or time says something of it. Pure: values in, values out.

Times are compared on the wall clock, since processes share nothing else. Where it was set back, what
was waited for counts as over: somebody is told too early rather than not at all.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from autotrader.domain.alerts import Severity
from autotrader.domain.thresholds import ALERTING
from autotrader.ports.alerts import Alert, AlertState, Raising, Telling

ITSELF = "autotrader"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The alert as it is now.

    Attributes
    ----------
    tell : Telling or None
        What people are to be told; None: nothing.
    suppressed : bool
        Nothing, because the same was told a moment ago.
    """

    alert: Alert
    tell: Telling | None = None
    suppressed: bool = False


def take(
    live: Alert | None, previously_told_at: datetime | None, raising: Raising, *, key: str, now: datetime
) -> Outcome | None:
    """What an event does; None where it ends an alert that there is not.

    Parameters
    ----------
    live : Alert or None
        That of the fingerprint that is not resolved.
    previously_told_at : datetime or None
        When people were told last of one of the fingerprint that is.
    key : str
        Of the event: the same event makes the same alert.
    """
    if live is None:
        return None if raising.resolved else _open(previously_told_at, raising, key, now)
    if raising.resolved:
        if raising.began_at is not None and raising.began_at < live.last_at:
            return None  # it comes late: the end of one before
        ended = resolve(
            live, actor=ITSELF, reason=raising.message, now=now, told_by_alertmanager=raising.relayed
        )
        return replace(ended, alert=replace(ended.alert, last_at=max(live.last_at, raising.at)))
    rose = raising.severity.rank > live.severity.rank
    again = replace(
        live,
        severity=raising.severity if rose else live.severity,
        message=raising.message,
        runbook=raising.runbook or live.runbook,
        last_at=max(live.last_at, raising.at),
        count=live.count + 1,
        stamped_at=now,
    )
    match live.state:
        case AlertState.SUPPRESSED if again.severity is not Severity.CRITICAL:
            return Outcome(again, suppressed=True)
        case AlertState.SUPPRESSED:
            return _told(again, Telling.RAISED, now)
        case AlertState.ACKNOWLEDGED if not rose:
            return Outcome(again)
        case AlertState.ACKNOWLEDGED:
            return _told(replace(again, acknowledged_by=None, acknowledged_at=None), Telling.AGAIN, now)
    # Of what Alertmanager tells, nothing can be held back.
    if rose or _is_told_always(again) or _over(live.told_at, ALERTING.suppress, now):
        # How long nobody has acknowledged it is not shortened by its being raised again.
        told = replace(again, told_at=now)
        return Outcome(replace(told, review_at=_review_at(told)), Telling.AGAIN)
    return Outcome(again, suppressed=True)


def review(alert: Alert, now: datetime, *, escalates: bool) -> Outcome:
    """What time alone does.

    Parameters
    ----------
    escalates : bool
        False where an Alertmanager, or what told us, repeats by itself.
    """
    stamped = replace(alert, stamped_at=now)
    match alert.state:
        case AlertState.SUPPRESSED if _reached(alert.suppressed_until, alert.stamped_at, now):
            return _told(stamped, Telling.RAISED, now)
        case AlertState.OPEN if alert.severity is Severity.INFO and _over(
            alert.last_told, ALERTING.info_open, now
        ):
            return Outcome(_ended(stamped, ITSELF, "news, after a day", now))
        case AlertState.OPEN if _escalation_due(alert, now):
            escalated = replace(stamped, escalated_at=now, escalations=alert.escalations + 1)
            if not escalates:
                return Outcome(replace(escalated, review_at=_review_at(escalated)))
            told = replace(escalated, told_at=now)
            return Outcome(replace(told, review_at=_review_at(told)), Telling.ESCALATED)
    return Outcome(replace(stamped, review_at=_review_at(stamped)))


def acknowledge(alert: Alert, *, actor: str, now: datetime) -> Alert:
    """Somebody is on it: it is not escalated, and not told again unless it gets worse."""
    return replace(
        alert,
        state=AlertState.ACKNOWLEDGED,
        acknowledged_by=actor,
        acknowledged_at=now,
        stamped_at=now,
        suppressed_until=None,
        review_at=None,
    )


def resolve(
    alert: Alert, *, actor: str, reason: str, now: datetime, told_by_alertmanager: bool = False
) -> Outcome:
    """It is over; whoever was told of it is told of that, too.

    Parameters
    ----------
    told_by_alertmanager : bool
        Whether those that it told of the alert know already.
    """
    tell = Telling.TAKEN_BACK if alert.relayed and not told_by_alertmanager else Telling.RESOLVED
    return Outcome(_ended(alert, actor, reason, now), None if alert.told_at is None else tell)


def _open(previously_told_at: datetime | None, raising: Raising, key: str, now: datetime) -> Outcome:
    alert = Alert(
        id=hashlib.sha256(f"{key}\n{raising.fingerprint}".encode()).hexdigest()[:12],
        fingerprint=raising.fingerprint,
        name=raising.name,
        severity=raising.severity,
        message=raising.message,
        runbook=raising.runbook,
        instrument=raising.instrument,
        relayed=raising.relayed,
        state=AlertState.OPEN,
        first_at=raising.at,
        last_at=raising.at,
        opened_at=now,
        stamped_at=now,
        thread=raising.thread,
    )
    quiet = previously_told_at is not None and not _over(previously_told_at, ALERTING.suppress, now)
    if previously_told_at is None or not quiet or _is_told_always(alert):
        return _told(alert, Telling.RAISED, now)
    until = previously_told_at + ALERTING.suppress
    held = replace(alert, state=AlertState.SUPPRESSED, suppressed_until=until, review_at=until)
    return Outcome(held, suppressed=True)


def _is_told_always(alert: Alert) -> bool:
    return alert.relayed or alert.severity is Severity.CRITICAL


def _told(alert: Alert, tell: Telling, now: datetime) -> Outcome:
    """Open, from now on: the time to acknowledge it begins."""
    told = replace(
        alert, state=AlertState.OPEN, told_at=now, escalated_at=None, escalations=0, suppressed_until=None
    )
    told = replace(told, opened_at=now)
    return Outcome(replace(told, review_at=_review_at(told)), tell)


def _ended(alert: Alert, actor: str, reason: str, now: datetime) -> Alert:
    return replace(
        alert,
        state=AlertState.RESOLVED,
        resolved_by=actor,
        resolved_at=now,
        reason=reason,
        stamped_at=now,
        suppressed_until=None,
        review_at=None,
    )


def _escalation_due(alert: Alert, now: datetime) -> bool:
    # News is escalated once: then it has been put before people twice.
    if alert.severity is Severity.INFO and alert.escalations:
        return False
    return _over(alert.escalated_at or alert.opened_at, patience(alert.severity), now)


def patience(severity: Severity) -> timedelta:
    """How long an alert may stay unacknowledged."""
    return ALERTING.escalate_critical if severity is Severity.CRITICAL else ALERTING.escalate_others


def _review_at(alert: Alert) -> datetime | None:
    match alert.state:
        case AlertState.SUPPRESSED:
            return alert.suppressed_until
        case AlertState.OPEN if alert.severity is Severity.INFO and alert.escalations:
            return alert.last_told + ALERTING.info_open
        case AlertState.OPEN:
            return (alert.escalated_at or alert.opened_at) + patience(alert.severity)
    return None


def _over(since: datetime | None, wait: timedelta, now: datetime) -> bool:
    """Whether so long has passed, or the clock was set back meanwhile."""
    return since is None or now >= since + wait or now < since - ALERTING.clock_tolerance


def _reached(due: datetime | None, stamped_at: datetime, now: datetime) -> bool:
    return due is None or now >= due or now < stamped_at - ALERTING.clock_tolerance
