"""The time grid of bars, and reading instants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.domain.bars import Interval, floor_to, last_closed_open, parse_utc, require_utc

INSTANTS = st.datetimes(datetime(1971, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
INTERVALS = st.sampled_from(Interval)


def test_intervals_have_the_length_that_their_name_says() -> None:
    assert {i.value: i.seconds for i in Interval} == {
        "1m": 60,
        "5m": 300,
        "15m": 900,
        "1h": 3600,
        "1d": 86400,
    }
    assert all(i.delta == timedelta(seconds=i.seconds) for i in Interval)


@given(INSTANTS, INTERVALS)
@settings(max_examples=100)
def test_the_floor_is_the_open_of_the_bar_that_holds_the_instant(now: datetime, interval: Interval) -> None:
    opened = floor_to(now, interval)
    assert opened <= now < opened + interval.delta
    assert opened.timestamp() % interval.seconds == 0
    assert floor_to(opened, interval) == opened


@given(INSTANTS, INTERVALS)
@settings(max_examples=100)
def test_the_last_closed_bar_has_closed_and_the_next_has_not(now: datetime, interval: Interval) -> None:
    opened = last_closed_open(now, interval)
    assert opened + interval.delta <= now < opened + 2 * interval.delta


def test_a_bar_is_closed_at_the_very_instant_of_its_close() -> None:
    close = datetime(2024, 3, 1, 12, 1, tzinfo=UTC)
    assert last_closed_open(close, Interval.M1) == datetime(2024, 3, 1, 12, 0, tzinfo=UTC)
    just_before = close - timedelta(microseconds=1)
    assert last_closed_open(just_before, Interval.M1) == datetime(2024, 3, 1, 11, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-02-01", datetime(2024, 2, 1, tzinfo=UTC)),
        ("2024-02-01 00:00:00", datetime(2024, 2, 1, tzinfo=UTC)),
        ("2024-02-01T12:30:00Z", datetime(2024, 2, 1, 12, 30, tzinfo=UTC)),
        ("2024-02-01T12:30:00+02:00", datetime(2024, 2, 1, 10, 30, tzinfo=UTC)),
        ("2024-02-01T12:30:00.123456", datetime(2024, 2, 1, 12, 30, 0, 123456, tzinfo=UTC)),
    ],
)
def test_a_date_or_date_time_is_read_as_utc(text: str, expected: datetime) -> None:
    read = parse_utc(text)
    assert read == expected
    assert read.tzinfo is UTC


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13-01", "2024-02-30", "01/02/2024"])
def test_another_text_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as 2024-02-01.*was '" + text):
        parse_utc(text)


@pytest.mark.parametrize(
    "instant",
    [datetime(2024, 3, 1), datetime(2024, 3, 1, tzinfo=timezone(timedelta(hours=1)))],  # noqa: DTZ001
)
def test_an_instant_that_is_not_utc_is_refused(instant: datetime) -> None:
    with pytest.raises(ValueError, match="expected market time in UTC"):
        require_utc(instant, name="market time")
    with pytest.raises(ValueError, match="UTC"):
        floor_to(instant, Interval.M1)


def test_utc_by_another_name_is_utc() -> None:
    instant = datetime(2024, 3, 1, tzinfo=timezone(timedelta(0), "Zulu"))
    assert require_utc(instant) is instant
