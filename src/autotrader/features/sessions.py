"""Trading sessions of the day: the nine business hours of Tokyo, London and New York.

The convention of the foreign-exchange market: 09:00 to 18:00 in Tokyo, 08:00 to 17:00 in London and
in New York, local time with its daylight saving, Monday to Friday. Public holidays are not observed.
"""

from __future__ import annotations

import functools
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

SESSION_MINUTES = 540
SESSIONS = (("Asia/Tokyo", 9), ("Europe/London", 8), ("America/New_York", 8))
FIRST_DAY = date(1990, 1, 1)
LAST_DAY = date(2099, 12, 31)
ORIGIN = (FIRST_DAY - date(1970, 1, 1)).days

_DAYS = (LAST_DAY - FIRST_DAY).days + 1


@functools.cache
def session_opens() -> NDArray[np.int16]:
    """When each session opens on each day.

    Returns
    -------
    int16 array (3, days)
        Minute of the UTC day at which the session opens, -1 on its weekend; days run from
        FIRST_DAY, which is day ORIGIN since 1970. No session reaches into the next UTC day.
    """
    opens = np.empty((len(SESSIONS), _DAYS), np.int16)
    for row, (zone, hour) in enumerate(SESSIONS):
        _fill_openings(opens[row], ZoneInfo(zone), hour, 0, _DAYS - 1)
    weekday = (np.arange(_DAYS) + FIRST_DAY.weekday()) % 7
    opens[:, weekday >= 5] = -1
    opens.flags.writeable = False
    return opens


def _fill_openings(opens: NDArray[np.int16], zone: ZoneInfo, hour: int, first: int, last: int) -> None:
    """Fill days [first, last], asking the zone only around its changes of offset."""
    begin, end = (_opening(zone, hour, day) for day in (first, last))
    # No zone changes its clock twice within a month.
    if begin == end and last - first <= 28:
        opens[first : last + 1] = begin
    elif last - first <= 1:
        opens[first], opens[last] = begin, end
    else:
        middle = (first + last) // 2
        _fill_openings(opens, zone, hour, first, middle)
        _fill_openings(opens, zone, hour, middle, last)


def _opening(zone: ZoneInfo, hour: int, day: int) -> int:
    local = datetime.combine(FIRST_DAY + timedelta(days=day), time(hour), zone)
    opening = local.astimezone(UTC)
    return opening.hour * 60 + opening.minute
