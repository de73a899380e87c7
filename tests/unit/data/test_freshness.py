"""How far a table is behind its market."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from autotrader.data.freshness import FreshnessGrade, freshness, grade_age, lag_finding
from autotrader.domain.bars import Interval
from autotrader.domain.instruments import Venue
from autotrader.domain.verdicts import Severity

NOW = datetime(2024, 3, 9, 12, 0, 30, tzinfo=UTC)  # a Saturday
NEWEST = datetime(2024, 3, 9, 11, 59, tzinfo=UTC)
M1 = Interval.M1


@pytest.mark.parametrize(
    ("minutes", "grade"),
    [
        (0, "FRESH"),
        (4, "FRESH"),
        (5, "RECENT"),
        (59, "RECENT"),
        (60, "STALE"),
        (1439, "STALE"),
        (1440, "OUTDATED"),
    ],
)
def test_grades_begin_at_five_minutes_an_hour_and_a_day(minutes: int, grade: str) -> None:
    assert grade_age(timedelta(minutes=minutes)) == grade
    assert freshness(Venue.BINANCE, M1, NEWEST - timedelta(minutes=minutes), NOW).grade == grade


def test_a_closed_market_is_not_stale() -> None:
    friday = datetime(2024, 3, 8, 21, 59, tzinfo=UTC)
    assert freshness(Venue.OANDA, M1, friday, NOW).behind == timedelta(0)
    assert freshness(Venue.BINANCE, M1, friday, NOW).grade is FreshnessGrade.STALE


def test_a_row_ahead_of_the_calendar_is_not_behind() -> None:
    assert freshness(Venue.OANDA, M1, NEWEST, NOW).behind == timedelta(0)


def test_no_rows_are_outdated_and_critical() -> None:
    found = freshness(Venue.BINANCE, M1, None, NOW)
    assert (found.behind, found.grade) == (None, FreshnessGrade.OUTDATED)
    assert lag_finding("bars", found).severity is Severity.CRITICAL


@pytest.mark.parametrize(
    ("minutes", "severity"),
    [(60, Severity.HEALTHY), (61, Severity.WARNING), (120, Severity.WARNING), (121, Severity.CRITICAL)],
)
def test_the_pipeline_warns_above_an_hour_and_is_critical_above_two(minutes: int, severity: Severity) -> None:
    found = lag_finding("bars", freshness(Venue.BINANCE, M1, NEWEST - timedelta(minutes=minutes), NOW))
    assert found.severity is severity
    assert f"{minutes} minutes" in found.reason
