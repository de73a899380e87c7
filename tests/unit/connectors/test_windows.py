"""History is cut at UTC midnights, and no further than bars have closed."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.adapters.clocks import StandingMarketClock
from autotrader.connectors.windows import closed_days
from autotrader.domain.bars import Interval
from autotrader.domain.errors import ConfigurationError

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
LATER = StandingMarketClock(datetime(2030, 1, 1, tzinfo=UTC))


def at(minutes: int) -> datetime:
    return EPOCH + timedelta(minutes=minutes)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_days_join_without_holes_and_cover_exactly_what_was_asked(start: int, length: int) -> None:
    days = list(closed_days(at(start), at(start + length), Interval.M1, LATER))
    assert bool(days) == (length > 0)
    if days:
        assert days[0][0] == at(start)
        assert days[-1][1] == at(start + length)
    for (opens, until), (following, _) in itertools.pairwise(days):
        assert until == following
        assert until.time() == datetime.min.time()
        assert opens < until
    assert all(until - opens <= timedelta(days=1) for opens, until in days)


def test_what_has_not_closed_is_not_asked_for() -> None:
    clock = StandingMarketClock(at(90) + timedelta(seconds=59))
    assert list(closed_days(at(0), at(5000), Interval.M1, clock)) == [(at(0), at(90))]
    assert list(closed_days(at(0), at(5000), Interval.H1, clock)) == [(at(0), at(60))]
    assert list(closed_days(at(91), at(5000), Interval.M1, clock)) == []


def test_a_reversed_window_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="start before end"):
        list(closed_days(at(1), at(0), Interval.M1, LATER))


@pytest.mark.parametrize("zone", [None, timezone(timedelta(hours=1))])
def test_times_of_no_zone_or_another_are_refused(zone: timezone | None) -> None:
    with pytest.raises(ValueError, match="expected end in UTC"):
        list(closed_days(at(0), at(5).replace(tzinfo=zone), Interval.M1, LATER))
