"""How far a table is behind its market."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from autotrader.adapters.clocks import StandingMarketClock
from autotrader.data.freshness import (
    FreshnessGrade,
    delivery_finding,
    freshness,
    grade_age,
    lag_finding,
    overdue,
)
from autotrader.domain.bars import Interval
from autotrader.domain.instruments import Venue
from autotrader.domain.schedules import DATA_RUN
from autotrader.domain.verdicts import Severity
from tests.fakes.clocks import LiveAt

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


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2024-03-{text}+00:00")


@pytest.mark.parametrize(
    ("now", "began"),
    [
        ("09 04:00", "09 02:00"),  # the deadline's last instant is over
        ("09 03:59:59", "08 02:00"),
        ("09 01:30", "08 02:00"),
        ("09 23:59", "09 02:00"),
    ],
)
def test_a_run_must_have_ended_with_its_deadline(now: str, began: str) -> None:
    assert DATA_RUN.last_due(at(now)) == at(began)


@pytest.mark.parametrize("now", ["09 04:05", "09 12:00", "10 01:30", "10 03:59"])
def test_between_two_runs_that_delivered_nothing_is_wrong(now: str) -> None:
    """The run of the 9th at 02:00 brought all bars that had closed."""
    finding = delivery_finding("bars", Venue.BINANCE, M1, at("09 01:59"), LiveAt(at(now)))
    assert finding.severity is Severity.HEALTHY, finding.reason
    age = freshness(Venue.BINANCE, M1, at("09 01:59"), at(now)).behind
    assert age is not None
    assert finding.evidence["behind_minutes"] == age.total_seconds() / 60, "the true age is told all the same"


@pytest.mark.parametrize("now", ["10 04:30", "10 06:00"])
def test_a_run_that_did_not_come_is_critical_once_it_must_have_ended(now: str) -> None:
    finding = delivery_finding("bars", Venue.BINANCE, M1, at("09 01:59"), LiveAt(at(now)))
    assert finding.severity is Severity.CRITICAL
    assert "bars is 1440 minutes short of what the data run of 2024-03-10 02:00" in finding.reason


@pytest.mark.parametrize(
    ("minutes", "severity"),
    [(60, Severity.HEALTHY), (61, Severity.WARNING), (120, Severity.WARNING), (121, Severity.CRITICAL)],
)
def test_a_run_that_brought_too_little_is_judged_by_what_is_missing(minutes: int, severity: Severity) -> None:
    newest = at("09 01:59") - timedelta(minutes=minutes)
    assert delivery_finding("bars", Venue.BINANCE, M1, newest, LiveAt(at("09 12:00"))).severity is severity


def test_a_market_that_was_closed_when_the_run_began_owes_nothing() -> None:
    friday = at("08 21:59")
    assert overdue(Venue.OANDA, M1, friday, LiveAt(at("11 01:30"))) == timedelta(0)
    assert overdue(Venue.IBKR, M1, at("08 20:59"), LiveAt(at("11 22:00"))) == timedelta(0)
    assert overdue(Venue.IBKR, M1, at("08 20:59"), LiveAt(at("12 04:30"))) == timedelta(days=3, hours=-1)


def test_what_was_loaded_by_hand_since_is_not_ahead() -> None:
    assert overdue(Venue.BINANCE, M1, at("09 11:00"), LiveAt(at("09 12:00"))) == timedelta(0)


def test_in_a_replay_the_newest_closed_bar_is_due() -> None:
    clock = StandingMarketClock(at("09 12:00"))
    finding = delivery_finding("bars", Venue.BINANCE, M1, at("09 01:59"), clock)
    assert finding == lag_finding("bars", freshness(Venue.BINANCE, M1, at("09 01:59"), at("09 12:00")))
    assert finding.severity is Severity.CRITICAL
    assert overdue(Venue.BINANCE, M1, None, clock) is None
