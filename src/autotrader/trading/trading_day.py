"""When a trading day begins."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from autotrader.domain.errors import ConfigurationError

_FORM = re.compile(r"([01]\d|2[0-3]):([0-5]\d) (\S+)")
_NOON = time(12)


def trading_day(at: datetime, boundary: str) -> date:
    """The trading day of an instant.

    A day that begins before noon has the date on which it begins, one that begins at noon or later
    the date after, on which most of it lies: from Sunday 17:00 in New York it is Monday. Days begin
    by the clock on the wall, so that with summer time one of them has 23 hours and one 25; a time
    that this clock shows twice is meant when it first shows it.

    Parameters
    ----------
    at : datetime
        With a time zone.
    boundary : str
        Time and zone: `00:00 UTC`, `17:00 America/New_York`.

    Raises
    ------
    ConfigurationError
        If the boundary is not of that form, or the zone is not known.
    """
    begins, zone = _read(boundary)
    day = at.astimezone(zone).date()
    # As instants: on the clock of a zone, times around a change of its offset are not in order.
    if at < datetime.combine(day, begins, zone).astimezone(UTC):
        day -= timedelta(days=1)
    return day if begins < _NOON else day + timedelta(days=1)


@lru_cache
def _read(boundary: str) -> tuple[time, ZoneInfo]:
    found = _FORM.fullmatch(boundary)
    if found is None:
        raise _unreadable(boundary)
    try:
        return time(int(found[1]), int(found[2])), ZoneInfo(found[3])
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise _unreadable(boundary) from error


def _unreadable(boundary: str) -> ConfigurationError:
    return ConfigurationError(
        f"expected a time and a zone such as 17:00 America/New_York, was {boundary!r}: set the day boundary"
    )
