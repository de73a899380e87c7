"""Which bars a run loads, in each mode."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader import command
from autotrader.domain.bars import Interval, floor_to
from autotrader.domain.errors import ConfigurationError
from autotrader.ingestion.windows import Mode, incremental_window, named_window, plan_window
from tests.unit.ingestion.market import Assignment, assignment

NOW = datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC)
M1 = Interval.M1
DAY = timedelta(days=1)

moments = st.datetimes(datetime(2015, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
quick = settings(max_examples=60)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def test_incremental_runs_from_the_newest_bar_minus_a_day_to_the_last_closed_bar() -> None:
    newest = utc(2024, 2, 28, 1, 59)
    window = plan_window(Mode.INCREMENTAL, now=NOW, interval=M1, high_water_mark=newest)
    assert window == (utc(2024, 2, 27, 1, 59), utc(2024, 2, 29, 12, 34))


def test_the_first_run_loads_a_settable_number_of_days() -> None:
    start, end = plan_window(Mode.INCREMENTAL, now=NOW, interval=M1, initial_days=3)
    assert (start, end) == (utc(2024, 2, 26, 12, 34), utc(2024, 2, 29, 12, 34))


def test_backfill_takes_whole_days_the_last_included() -> None:
    window = plan_window(
        Mode.BACKFILL, now=NOW, interval=M1, start_date=date(2024, 2, 1), end_date=date(2024, 2, 2)
    )
    assert window == (utc(2024, 2, 1), utc(2024, 2, 3))


@pytest.mark.parametrize("end_date", [None, NOW.date()])
def test_backfill_ends_at_the_last_closed_bar(end_date: date | None) -> None:
    _, end = plan_window(Mode.BACKFILL, now=NOW, interval=M1, start_date=date(2024, 2, 1), end_date=end_date)
    assert end == utc(2024, 2, 29, 12, 34)


def test_reprocess_takes_one_day() -> None:
    window = plan_window(Mode.REPROCESS, now=NOW, interval=M1, day=date(2024, 2, 27))
    assert window == (utc(2024, 2, 27), utc(2024, 2, 28))


@pytest.mark.parametrize(
    ("mode", "dates", "said"),
    [
        (Mode.BACKFILL, {}, "expected start_date with mode backfill, was empty"),
        (Mode.REPROCESS, {}, "expected date with mode reprocess, was empty"),
        (Mode.INCREMENTAL, {"day": date(2024, 2, 1)}, "expected no date with mode incremental"),
        (Mode.REPROCESS, {"day": date(2024, 2, 1), "end_date": date(2024, 2, 2)}, "expected no end_date"),
        (Mode.BACKFILL, {"start_date": date(2024, 2, 2), "end_date": date(2024, 2, 1)}, "swap the dates"),
        (Mode.BACKFILL, {"start_date": date(2024, 3, 2)}, "expected start not after market time"),
        (
            Mode.BACKFILL,
            {"start_date": date(2024, 2, 2), "end_date": date(2024, 3, 1)},
            "not after market time",
        ),
        (Mode.REPROCESS, {"day": date(2024, 3, 1)}, "expected a day not after market time"),
    ],
)
def test_dates_that_make_no_sense_are_one_clear_line(mode: Mode, dates: dict[str, date], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        plan_window(mode, now=NOW, interval=M1, **dates)
    assert "\n" not in str(caught.value)


def test_a_named_window_lies_on_the_grid_and_leaves_out_the_forming_bar() -> None:
    start, end = named_window(
        now=NOW, interval=Interval.H1, start=utc(2024, 2, 29, 8, 20), end=utc(2024, 2, 29, 12, 30)
    )
    assert (start, end) == (utc(2024, 2, 29, 9), utc(2024, 2, 29, 12))


def test_reversed_and_future_windows_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="swap the dates"):
        named_window(now=NOW, interval=M1, start=NOW - DAY, end=NOW - 2 * DAY)
    for start, end in ((NOW + DAY, NOW + 2 * DAY), (NOW - DAY, NOW + DAY)):
        with pytest.raises(ConfigurationError, match="not after market time"):
            named_window(now=NOW, interval=M1, start=start, end=end)


@quick
@given(moments, st.timedeltas(timedelta(0), timedelta(days=40)), st.sampled_from(Interval))
def test_incremental_windows_reach_back_a_day_and_never_ask_for_an_unclosed_bar(
    now: datetime, age: timedelta, interval: Interval
) -> None:
    newest = floor_to(now - age, interval) - interval.delta
    start, end = incremental_window(now=now, interval=interval, high_water_mark=newest)
    assert start == newest - DAY
    assert end <= now < end + interval.delta
    assert (end - start) % interval.delta == timedelta(0)


@quick
@given(
    moments, st.lists(st.timedeltas(timedelta(0), timedelta(days=3)), max_size=6), st.sampled_from(Interval)
)
def test_a_chain_of_incremental_runs_leaves_no_hole(
    now: datetime, steps: list[timedelta], interval: Interval
) -> None:
    start, covered = incremental_window(now=now, interval=interval, high_water_mark=None, initial_days=1)
    for step in steps:
        now += step
        newest = covered - interval.delta
        begin, end = incremental_window(now=now, interval=interval, high_water_mark=newest)
        assert begin <= covered <= end
        covered = end
    assert start < covered


@quick
@given(moments, st.integers(0, 400), st.integers(0, 400), st.sampled_from(Interval))
def test_backfills_of_adjoining_days_join_without_overlap(
    now: datetime, back: int, days: int, interval: Interval
) -> None:
    first = (now - timedelta(days=back + days + 2)).date()
    middle = first + timedelta(days=days)
    one = plan_window(Mode.BACKFILL, now=now, interval=interval, start_date=first, end_date=middle)
    two = plan_window(Mode.BACKFILL, now=now, interval=interval, start_date=middle + DAY)
    assert one[1] == two[0]
    assert two[1] == floor_to(now, interval)


@quick
@given(moments, st.integers(0, 400), st.sampled_from(Interval))
def test_reprocess_never_leaves_its_day(now: datetime, back: int, interval: Interval) -> None:
    day = (now - timedelta(days=back)).date()
    start, end = plan_window(Mode.REPROCESS, now=now, interval=interval, day=day)
    assert start.date() == day
    assert start <= end <= min(datetime.combine(day + DAY, datetime.min.time(), UTC), now)


def test_an_assignment_survives_json() -> None:
    asked = assignment()
    assert Assignment.from_plain(command.to_plain(asked)) == asked
    assert str(asked) == "binance:BTCUSDT 1m 2024-02-01 00:00 to 2024-02-01 06:00"
