"""Days of the US equity market, and the window of time that a day's summary is of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from autotrader.data.calendars import sessions
from autotrader.domain.errors import ConfigurationError
from autotrader.domain.instruments import Venue
from autotrader.pipelines.values import read_day

NEW_YORK = ZoneInfo("America/New_York")
SUMMARY_AT = time(16, 30)  # contract; New York
_USUAL_CLOSE = time(16)
_LOOK_BACK_DAYS = 14  # longer than any closure since the archive of sessions begins


@dataclass(frozen=True, slots=True)
class MarketDay:
    """One day, and what its summary covers.

    Attributes
    ----------
    day : date
        In New York.
    is_open : bool
        Whether the exchange has a session.
    reason : str
        Why not; of a day with an early close, when.
    start, end : datetime
        [start, end), market time: from 16:30 in New York of the market day before to 16:30 of this
        one, or until now, so that a weekend's trades are in Monday's summary. Equal on a day that
        is not open.
    """

    day: date
    is_open: bool
    reason: str
    start: datetime
    end: datetime


def market_day(day: str | None, now: datetime) -> MarketDay:
    """The day that was asked for, or today's in New York.

    Parameters
    ----------
    day : str or None
        YYYY-MM-DD; None or empty: the date in New York.
    now : datetime
        Market time, UTC.

    Raises
    ------
    ConfigurationError
        If it is no date, or has not begun.
    """
    today = now.astimezone(NEW_YORK).date()
    chosen = read_day(day, "day") or today
    if chosen > today:
        raise ConfigurationError(f"expected a day until {today}, where market time is, was {chosen}")
    closes = _close_of(chosen)
    if closes is None:
        return MarketDay(chosen, False, f"the exchange has no session on {chosen:%A, %F}", now, now)
    earlier = (chosen - timedelta(days=n) for n in range(1, _LOOK_BACK_DAYS))
    before = next(one for one in earlier if _close_of(one))
    early = closes.astimezone(NEW_YORK).time()
    return MarketDay(
        day=chosen,
        is_open=True,
        reason=f"the exchange closed early, at {early:%H:%M} in New York" if early < _USUAL_CLOSE else "",
        start=_summary_of(before),
        end=min(_summary_of(chosen), now),
    )


def _close_of(day: date) -> datetime | None:
    noon = datetime.combine(day, time(12), NEW_YORK).astimezone(UTC)
    found = list(sessions(Venue.IBKR, noon, noon + timedelta(minutes=1)))
    return found[0][1] if found else None


def _summary_of(day: date) -> datetime:
    return datetime.combine(day, SUMMARY_AT, NEW_YORK).astimezone(UTC)
