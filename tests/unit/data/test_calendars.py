"""Which bars a market should have."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.data.calendars import expected_opens, is_open, newest_due_open
from autotrader.domain.bars import Interval
from autotrader.domain.instruments import Venue
from tests import real_data

M1 = Interval.M1


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def opens(venue: Venue, interval: Interval, start: datetime, end: datetime) -> list[str]:
    return [str(o)[:16] for o in expected_opens(venue, interval, start, end)]


def test_crypto_trades_always() -> None:
    found = expected_opens(Venue.BINANCE, M1, utc(2024, 2, 28), utc(2024, 3, 1))
    assert len(found) == 2 * 1440
    assert (np.diff(found) == np.timedelta64(1, "m")).all()
    assert opens(Venue.BINANCE, Interval.D1, utc(2024, 2, 28), utc(2024, 3, 1)) == [
        "2024-02-28T00:00",
        "2024-02-29T00:00",
    ]


def test_start_is_included_and_end_is_not() -> None:
    window = (utc(2024, 2, 1, 0, 0, 1), utc(2024, 2, 1, 0, 3))
    assert opens(Venue.BINANCE, M1, *window) == ["2024-02-01T00:01", "2024-02-01T00:02"]
    assert opens(Venue.BINANCE, M1, utc(2024, 2, 1), utc(2024, 2, 1)) == []


@pytest.mark.parametrize(
    ("week", "closes", "reopens"),
    [
        ((2024, 1, 12), "2024-01-12T21:59", "2024-01-14T22:00"),  # winter on both sides
        ((2024, 3, 8), "2024-03-08T21:59", "2024-03-10T21:00"),  # clocks go forward on Sunday morning
        ((2024, 7, 5), "2024-07-05T20:59", "2024-07-07T21:00"),
        ((2024, 11, 1), "2024-11-01T20:59", "2024-11-03T22:00"),  # clocks go back
    ],
)
def test_the_fx_week_ends_friday_and_begins_sunday_at_five_in_new_york(
    week: tuple[int, int, int], closes: str, reopens: str
) -> None:
    friday = utc(*week)
    found = expected_opens(Venue.OANDA, M1, friday, friday + timedelta(days=3))
    gap = int(np.argmax(np.diff(found)))
    assert (str(found[gap])[:16], str(found[gap + 1])[:16]) == (closes, reopens)


def test_daily_fx_bars_open_at_five_in_new_york_on_five_days() -> None:
    found = opens(Venue.OANDA, Interval.D1, utc(2024, 3, 9), utc(2024, 3, 17))
    assert found == [f"2024-03-{day}T21:00" for day in (10, 11, 12, 13, 14)]


def test_equities_have_regular_hours_holidays_and_early_closes() -> None:
    day = timedelta(days=1)
    minutes = {
        d: len(expected_opens(Venue.IBKR, M1, utc(2023, 11, d), utc(2023, 11, d) + day))
        for d in (22, 23, 24, 25)
    }
    assert minutes == {22: 390, 23: 0, 24: 210, 25: 0}
    assert opens(Venue.IBKR, M1, utc(2024, 3, 11), utc(2024, 3, 12))[0] == "2024-03-11T13:30"
    assert opens(Venue.IBKR, M1, utc(2024, 3, 8), utc(2024, 3, 9))[0] == "2024-03-08T14:30"


def test_hours_of_equities_begin_with_the_session() -> None:
    found = opens(Venue.IBKR, Interval.H1, utc(2024, 1, 2), utc(2024, 1, 3))
    assert found == ["2024-01-02T14:30", *(f"2024-01-02T{h}:00" for h in range(15, 21))]


def test_days_of_equities_open_at_midnight_in_new_york() -> None:
    assert opens(Venue.IBKR, Interval.D1, utc(2024, 3, 8), utc(2024, 3, 12)) == [
        "2024-03-08T05:00",
        "2024-03-11T04:00",
    ]


def test_the_recorded_days_of_an_equity_are_the_calendars() -> None:
    (path,) = (real_data.folder() / "equity").glob("SPY_1d*.parquet")
    ts = pl.read_parquet(path)["ts"].cast(pl.Datetime("us", "UTC")).sort()
    expected = expected_opens(Venue.IBKR, Interval.D1, ts[0], ts[-1] + timedelta(days=1))
    missing = np.isin(expected, ts.dt.replace_time_zone(None).to_numpy(), invert=True).mean()
    assert missing < 0.01


@pytest.mark.parametrize(
    ("venue", "at", "expected"),
    [
        (Venue.BINANCE, utc(2024, 3, 9, 12), True),
        (Venue.OANDA, utc(2024, 3, 9, 12), False),
        (Venue.OANDA, utc(2024, 3, 8, 12), True),
        (Venue.IBKR, utc(2024, 3, 8, 14, 30), True),
        (Venue.IBKR, utc(2024, 3, 8, 21), False),
    ],
)
def test_open_or_closed(venue: Venue, at: datetime, expected: bool) -> None:
    assert is_open(venue, at) is expected


def test_the_newest_due_bar_is_the_last_that_closed_while_the_market_was_open() -> None:
    saturday = utc(2024, 3, 9, 12)
    assert newest_due_open(Venue.BINANCE, M1, saturday + timedelta(seconds=59)) == utc(2024, 3, 9, 11, 59)
    assert newest_due_open(Venue.OANDA, M1, saturday) == utc(2024, 3, 8, 21, 59)
    assert newest_due_open(Venue.IBKR, M1, saturday) == utc(2024, 3, 8, 20, 59)
    assert newest_due_open(Venue.IBKR, Interval.D1, saturday) == utc(2024, 3, 8, 5)


@settings(max_examples=40)
@given(
    st.sampled_from([Venue.BINANCE, Venue.OANDA]),
    st.sampled_from(Interval),
    st.datetimes(datetime(2015, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.integers(0, 20 * 1440),
    st.integers(0, 20 * 1440),
)
def test_windows_that_join_expect_the_same_as_the_whole(
    venue: Venue, interval: Interval, start: datetime, first: int, second: int
) -> None:
    middle = start + timedelta(minutes=first)
    end = middle + timedelta(minutes=second)
    parts = [expected_opens(venue, interval, *window) for window in ((start, middle), (middle, end))]
    whole = expected_opens(venue, interval, start, end)
    assert np.array_equal(np.concatenate(parts), whole)
    assert (np.diff(whole) > np.timedelta64(0, "us")).all()


def test_pandas_is_not_imported_for_crypto() -> None:
    script = (
        "import sys; from datetime import UTC, datetime as d; import autotrader.data.calendars as c;"
        "c.expected_opens(c.Venue.OANDA, c.Interval.M1, d(2024,1,1,tzinfo=UTC), d(2024,1,9,tzinfo=UTC));"
        "print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
