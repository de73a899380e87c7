"""How far a table is behind the market, in market time: a closed market is not stale."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from autotrader.data.calendars import newest_due_open
from autotrader.domain.bars import Interval
from autotrader.domain.instruments import Venue
from autotrader.domain.thresholds import FRESHNESS
from autotrader.domain.verdicts import Finding, Severity


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
    evidence = {"newest": found.newest, "due": found.due, "grade": found.grade.value}
    if found.behind is None:
        return Finding("lag", Severity.CRITICAL, f"{subject} has no rows", evidence)
    minutes = found.behind.total_seconds() / 60
    severity = (
        Severity.CRITICAL
        if found.behind > FRESHNESS.pipeline_critical
        else Severity.WARNING
        if found.behind > FRESHNESS.pipeline_warning
        else Severity.HEALTHY
    )
    reason = f"{subject} is {minutes:.0f} minutes behind the market"
    return Finding("lag", severity, reason, evidence | {"behind_minutes": minutes})
