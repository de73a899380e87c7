"""Hour, minute, weekday and trading sessions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from autotrader.features.compiled import kernel
from autotrader.features.kernels.layout import HOUR, SESSION, Ints, Output
from autotrader.features.sessions import SESSION_MINUTES

DAY_US = 86_400_000_000
MINUTE_US = 60_000_000
HOUR_ANGLES = np.array([[f(2 * math.pi * k / 24) for k in range(24)] for f in (math.sin, math.cos)])
MINUTE_ANGLES = np.array([[f(2 * math.pi * k / 60) for k in range(60)] for f in (math.sin, math.cos)])
DAY_ANGLES = np.array([[f(2 * math.pi * k / 7) for k in range(7)] for f in (math.sin, math.cos)])


@kernel
def calendar(
    ts: Ints, session_opens: NDArray[np.int16], session_origin: int, minutes: Ints, out: Output, at: int
) -> None:
    """Hour, minute and weekday of the bar's open in UTC, on circles too, and the sessions it is in."""
    begin = 0
    while begin < ts.size:
        day = ts[begin] // DAY_US
        midnight = day * DAY_US
        end = begin
        while end < ts.size and ts[end] < midnight + DAY_US:
            minutes[end] = (ts[end] - midnight) // MINUTE_US
            end += 1
        calendar_of_day(day, session_opens, session_origin, minutes[begin:end], out, at + begin)
        begin = end


@kernel
def calendar_of_day(
    day: int, session_opens: NDArray[np.int16], session_origin: int, minutes: Ints, out: Output, at: int
) -> None:
    n = minutes.size
    weekday = (day + 3) % 7
    out[HOUR + 2, at : at + n] = weekday
    for part in range(2):
        out[HOUR + 7 + part, at : at + n] = DAY_ANGLES[part, weekday]
    hours, minutes_past = out[HOUR, at:], out[HOUR + 1, at:]
    hour_sin, hour_cos = out[HOUR + 3, at:], out[HOUR + 4, at:]
    minute_sin, minute_cos = out[HOUR + 5, at:], out[HOUR + 6, at:]
    for i in range(n):
        hour = minutes[i] // 60
        minute = minutes[i] - hour * 60
        hours[i] = hour
        minutes_past[i] = minute
        hour_sin[i], hour_cos[i] = HOUR_ANGLES[0, hour], HOUR_ANGLES[1, hour]
        minute_sin[i], minute_cos[i] = MINUTE_ANGLES[0, minute], MINUTE_ANGLES[1, minute]
    nth = day - session_origin
    for session in range(3):
        within = out[SESSION + session, at : at + n]
        if not 0 <= nth < session_opens.shape[1]:
            within[:] = np.nan
            continue
        opens = np.int64(session_opens[session, nth])
        closes = opens + SESSION_MINUTES if opens >= 0 else opens
        for i in range(n):
            within[i] = 1.0 if opens <= minutes[i] < closes else 0.0
