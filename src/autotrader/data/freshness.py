"""How far a table is behind the market, and behind what the data run was due to bring.

Both in market time: a closed market is not stale. Data come once a day, so between two runs a table
grows old and nothing is wrong: who looks at any hour asks `delivery_finding`, the run itself, right
after it has loaded, `lag_finding`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from autotrader.data.calendars import newest_due_open
from autotrader.domain.bars import Interval
from autotrader.domain.instruments import Venue
from autotrader.domain.schedules import DATA_RUN
from autotrader.domain.thresholds import FRESHNESS
from autotrader.domain.verdicts import Finding, Severity
from autotrader.ports.clock import MarketClock


class FreshnessGrade(StrEnum):
    FRESH = "FRESH"
    RECENT = "RECENT"
    STALE = "STALE"
    OUTDATED = "OUTDATED"


@dataclass(frozen=True, slots=True)
class Freshness:
    """How current the newest row is.

    Attributes
    ----------
    newest : datetime or None
        Open of the newest row, UTC; None if there is none.
    due : datetime or None
        Open of the newest bar that should be there; None if the market had none in two weeks.
    behind : timedelta or None
        `due` minus `newest`, at least zero; None if there is no row.
    grade : FreshnessGrade
    """

    newest: datetime | None
    due: datetime | None
    behind: timedelta | None
    grade: FreshnessGrade


def freshness(venue: Venue, interval: Interval, newest: datetime | None, now: datetime) -> Freshness:
    """Grade the newest row's age.

    Parameters
    ----------
    newest : datetime or None
        Open of the newest row, UTC.
    now : datetime
        Market time, UTC.
    """
    due = newest_due_open(venue, interval, now)
    if newest is None:
        return Freshness(None, due, None, FreshnessGrade.OUTDATED)
    behind = max(due - newest, timedelta(0)) if due else timedelta(0)
    return Freshness(newest, due, behind, grade_age(behind))


def grade_age(age: timedelta) -> FreshnessGrade:
    """FRESH below 5 min, RECENT below 1 h, STALE below 24 h, else OUTDATED."""
    if age < FRESHNESS.fresh:
        return FreshnessGrade.FRESH
    if age < FRESHNESS.recent:
        return FreshnessGrade.RECENT
    return FreshnessGrade.STALE if age < FRESHNESS.stale else FreshnessGrade.OUTDATED


def lag_finding(subject: str, found: Freshness) -> Finding:
    """What the data pipeline says of it: warns above 60 minutes behind, critical above 120."""
    if found.behind is None:
        return _nothing_there(subject, found)
    minutes = _minutes(found.behind)
    reason = f"{subject} is {minutes:.0f} minutes behind the market"
    return Finding("lag", _severity(found.behind), reason, _evidence(found) | {"behind_minutes": minutes})


def overdue(
    venue: Venue, interval: Interval, newest: datetime | None, clock: MarketClock
) -> timedelta | None:
    """How far the newest row is behind what was due; at least zero, None if there is no row.

    Live, that is the newest closed bar when the last data run began that must have ended by now. In
    a replay no run follows the market's time: the newest closed bar is due.

    Parameters
    ----------
    newest : datetime or None
        Open of the newest row, UTC.
    clock : MarketClock
    """
    return freshness(venue, interval, newest, _asked_for(clock)).behind


def delivery_finding(
    subject: str, venue: Venue, interval: Interval, newest: datetime | None, clock: MarketClock
) -> Finding:
    """What any hour may ask: warns above 60 minutes `overdue`, critical above 120.

    Parameters
    ----------
    subject : str
        Whose rows, as the sentence begins.
    newest : datetime or None
        Open of the newest row, UTC.
    clock : MarketClock
    """
    found = freshness(venue, interval, newest, clock.now())
    if clock.is_replay:
        return lag_finding(subject, found)
    late = overdue(venue, interval, newest, clock)
    if found.behind is None or late is None:
        return _nothing_there(subject, found)
    age, minutes = _minutes(found.behind), _minutes(late)
    severity, began = _severity(late), _asked_for(clock)
    due = f"what the data run of {began:%F %R} was due to bring"
    has = f"has {due}" if severity is Severity.HEALTHY else f"is {minutes:.0f} minutes short of {due}"
    reason = f"{subject} {has}, and {age:.0f} minutes behind the market"
    evidence = _evidence(found) | {"behind_minutes": age, "overdue_minutes": minutes, "data_run": began}
    return Finding("lag", severity, reason, evidence)


def _asked_for(clock: MarketClock) -> datetime:
    """The instant whose newest closed bar must be there by now."""
    return clock.now() if clock.is_replay else DATA_RUN.last_due(clock.now())


def _nothing_there(subject: str, found: Freshness) -> Finding:
    return Finding("lag", Severity.CRITICAL, f"{subject} has no rows", _evidence(found))


def _severity(behind: timedelta) -> Severity:
    if behind > FRESHNESS.pipeline_critical:
        return Severity.CRITICAL
    return Severity.WARNING if behind > FRESHNESS.pipeline_warning else Severity.HEALTHY


def _evidence(found: Freshness) -> dict[str, object]:
    return {"newest": found.newest, "due": found.due, "grade": found.grade.value}


def _minutes(span: timedelta) -> float:
    return span.total_seconds() / 60
