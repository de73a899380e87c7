"""Which bars a market should have: a closed market is no gap.

Crypto trades always. FX has its week from Sunday 17:00 to Friday 17:00 in New York, daylight
saving included; its bank holidays are thin, not closed. US equities follow the XNYS sessions of
exchange_calendars, regular hours, early closes included.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from autotrader.domain.bars import Interval, require_utc
from autotrader.domain.instruments import ASSET_CLASS_OF, AssetClass, Venue

_NEW_YORK = ZoneInfo("America/New_York")
_FX_TURN = time(17)
_SUNDAY = 6
_FX_WEEK = timedelta(days=5)
_LOOK_BACK = timedelta(days=14)  # longer than any closure since the archive of sessions begins

Session = tuple[datetime, datetime]


def expected_opens(
    venue: Venue, interval: Interval, start: datetime, end: datetime
) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
    """Opens in [start, end) of the bars that the venue should have.

    Intraday bars open on the UTC grid, and, where a session opens off the grid, at its open. A
    daily bar of equities opens at midnight of its session in New York, one of FX at 17:00 there,
    one of crypto at midnight UTC.

    Returns
    -------
    datetime64[us] array, UTC, ascending.
    """
    require_utc(start, name="start")
    require_utc(end, name="end")
    parts = [_opens(venue, interval, session) for session in sessions(venue, start, end)]
    if not parts:
        return np.empty(0, "datetime64[us]")
    opens = np.concatenate(parts)
    return opens[(opens >= _instant(start)) & (opens < _instant(end))]


def sessions(venue: Venue, start: datetime, end: datetime) -> Iterator[Session]:
    """Open and close, UTC, of each time of trading that touches [start, end), oldest first."""
    match ASSET_CLASS_OF[venue]:
        case AssetClass.CRYPTO:
            if start < end:
                yield _day_of(start), _day_of(end) + timedelta(days=1)
        case AssetClass.FX:
            yield from _fx_weeks(start, end)
        case AssetClass.EQUITY:
            yield from _equity_sessions(start, end)


def is_open(venue: Venue, at: datetime) -> bool:
    """Whether the market trades at the instant."""
    return any(opens <= at < closes for opens, closes in sessions(venue, at, at + timedelta(microseconds=1)))


def newest_due_open(venue: Venue, interval: Interval, now: datetime) -> datetime | None:
    """Open of the newest bar that should have closed by `now`; None if there is none in two weeks."""
    opens = expected_opens(venue, interval, now - _LOOK_BACK, now)
    closed = opens[opens + np.timedelta64(interval.seconds, "s") <= _instant(now)]
    return closed[-1].astype(datetime).replace(tzinfo=UTC) if len(closed) else None


def _opens(
    venue: Venue, interval: Interval, session: Session
) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
    opens, closes = session
    asset_class = ASSET_CLASS_OF[venue]
    if interval is Interval.D1 and asset_class is AssetClass.EQUITY:
        midnight = datetime.combine(opens.astimezone(_NEW_YORK).date(), time(), _NEW_YORK)
        return np.array([_instant(midnight.astimezone(UTC))])
    if interval is Interval.D1 and asset_class is AssetClass.FX:
        first = opens.astimezone(_NEW_YORK)
        days = (datetime.combine(first.date() + timedelta(days=n), _FX_TURN, _NEW_YORK) for n in range(5))
        return np.array([_instant(day.astimezone(UTC)) for day in days])
    step = np.timedelta64(interval.seconds, "s")
    first_on_grid = -(-int(opens.timestamp()) // interval.seconds) * interval.seconds
    grid = np.arange(np.datetime64(first_on_grid, "s").astype("datetime64[us]"), _instant(closes), step)
    if first_on_grid == int(opens.timestamp()):
        return grid
    return np.concatenate([[_instant(opens)], grid])


def _fx_weeks(start: datetime, end: datetime) -> Iterator[Session]:
    day = start.astimezone(_NEW_YORK).date() - timedelta(days=8)
    day += timedelta(days=(_SUNDAY - day.weekday()) % 7)
    while True:
        opens = _new_york_turn(day)
        closes = _new_york_turn(day + _FX_WEEK)
        if opens >= end:
            return
        if closes > start:
            yield opens, closes
        day += timedelta(days=7)


def _new_york_turn(day: date) -> datetime:
    return datetime.combine(day, _FX_TURN, _NEW_YORK).astimezone(UTC)


def _equity_sessions(start: datetime, end: datetime) -> Iterator[Session]:
    for decade in range(start.year // 10, end.year // 10 + 1):
        for opens, closes in _decade_of_sessions(decade):
            if closes > start and opens < end:
                yield opens, closes


@lru_cache(maxsize=16)
def _decade_of_sessions(decade: int) -> tuple[Session, ...]:
    """A decade takes hardly longer to make than a year does."""
    import exchange_calendars  # imports pandas: only where equities are asked for

    calendar = exchange_calendars.get_calendar("XNYS", start=f"{decade}0-01-01", end=f"{decade}9-12-31")
    schedule = calendar.schedule
    return tuple(
        (opens.to_pydatetime().astimezone(UTC), closes.to_pydatetime().astimezone(UTC))
        for opens, closes in zip(schedule["open"], schedule["close"], strict=True)
    )


def _day_of(instant: datetime) -> datetime:
    return instant.replace(hour=0, minute=0, second=0, microsecond=0)


def _instant(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")
