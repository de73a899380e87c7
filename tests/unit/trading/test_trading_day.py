from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.domain.errors import ConfigurationError
from autotrader.trading.trading_day import trading_day

NEW_YORK = "17:00 America/New_York"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "boundary", "day"),
    [
        ("2024-02-28T23:59:59.999999", "00:00 UTC", "2024-02-28"),
        ("2024-02-29T00:00", "00:00 UTC", "2024-02-29"),
        ("2024-01-07T21:59:59", NEW_YORK, "2024-01-07"),
        ("2024-01-07T22:00", NEW_YORK, "2024-01-08"),  # Sunday 17:00, winter: Monday begins
        ("2024-07-07T21:00", NEW_YORK, "2024-07-08"),  # in summer an hour earlier
        ("2024-07-07T20:59", NEW_YORK, "2024-07-07"),
        ("2024-03-10T21:00", NEW_YORK, "2024-03-11"),  # on the day of the change: summer time already
        ("2024-11-03T21:30", NEW_YORK, "2024-11-03"),  # and winter time already
        ("2024-02-29T05:59", "07:00 Europe/Berlin", "2024-02-28"),
        ("2024-02-29T06:00", "07:00 Europe/Berlin", "2024-02-29"),
        ("2024-02-29T03:00", "12:00 Asia/Tokyo", "2024-03-01"),
    ],
)
def test_a_trading_day_begins_at_its_boundary(at: str, boundary: str, day: str) -> None:
    assert trading_day(utc(at), boundary) == date.fromisoformat(day)


def test_an_hour_that_the_clock_shows_twice_is_of_one_day() -> None:
    begins = utc("2024-11-03T05:30")  # 01:30 in New York, for the first time
    instants = [begins + timedelta(minutes=m) for m in (-1, 0, 30, 59, 60, 90)]
    days = [trading_day(at, "01:30 America/New_York") for at in instants]
    assert days == [date(2024, 11, 2)] + [date(2024, 11, 3)] * 5
    there = [at.astimezone(ZoneInfo("America/New_York")) for at in instants]
    assert [trading_day(at, "01:30 America/New_York") for at in there] == days


def test_an_hour_that_the_clock_leaves_out_begins_a_day_all_the_same() -> None:
    boundary = "02:30 America/New_York"  # on 10 March 2024 there is none; 03:30 is that instant
    assert trading_day(utc("2024-03-10T07:29"), boundary) == date(2024, 3, 9)
    assert trading_day(utc("2024-03-10T07:30"), boundary) == date(2024, 3, 10)


@settings(max_examples=100)
@given(
    hour=st.integers(0, 34_000),
    boundary=st.sampled_from(["00:00 UTC", NEW_YORK, "01:30 America/New_York", "02:30 Europe/Berlin"]),
)
def test_days_follow_each_other_and_have_23_to_25_hours(hour: int, boundary: str) -> None:
    begin = utc("2023-01-01T00:00") + timedelta(hours=hour)
    halves = [begin + timedelta(minutes=30 * i) for i in range(48 * 4)]
    days = [trading_day(at, boundary) for at in halves]
    assert all(later - earlier in (timedelta(0), timedelta(days=1)) for earlier, later in pairwise(days))
    whole = [days.count(day) for day in sorted(set(days))[1:-1]]
    assert all(46 <= count <= 50 for count in whole)


@pytest.mark.parametrize(
    "boundary", ["", "17:00", "25:00 UTC", "5:00 UTC", "17:00 Mars/Base", "17:00 ../etc"]
)
def test_a_boundary_that_says_nothing_is_refused(boundary: str) -> None:
    with pytest.raises(ConfigurationError, match="expected a time and a zone such as"):
        trading_day(utc("2024-02-29T00:00"), boundary)
