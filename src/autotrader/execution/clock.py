"""The bar clock: how long a bar is, and how many of them make a year."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from autotrader.domain.errors import BadData
from autotrader.execution.arrays import Integers, Times
from autotrader.execution.compiled import njit

DAY_US = 86_400_000_000
YEAR_US = 365 * DAY_US


def microseconds(ts: Times) -> Integers:
    """Bar opens as int64 microseconds since 1970, without a copy where they have that unit already."""
    return ts.astype("datetime64[us]", copy=False).view(np.int64)


def bar_length(ts: Times) -> timedelta:
    """Length of a bar: the smallest step between consecutive bar opens.

    On a grid with holes this is never shorter than the true interval, so an instant derived from
    it (when a bar closed, when a label is known) is never too early.

    Parameters
    ----------
    ts : datetime64[n]
        Bar opens, strictly increasing, n >= 2.

    Raises
    ------
    BadData
        If there are fewer than two bars, or the opens do not strictly increase.
    """
    if len(ts) < 2:
        raise BadData(f"expected at least 2 bars to tell their length, was {len(ts)}")
    step = _smallest_step(microseconds(ts))
    if step <= 0:
        raise BadData("expected strictly increasing bar opens, were not: sort by ts and drop duplicates")
    return timedelta(microseconds=int(step))


def bars_per_year(ts: Times) -> float:
    """Bars in 365 days at the rate observed from the first open to the last close.

    Exact for markets that never close. For markets with sessions the window should span whole
    weeks: over a single session it would count closed hours as if bars were printed in them.

    Parameters
    ----------
    ts : datetime64[n]
        Bar opens, strictly increasing, n >= 2.

    Raises
    ------
    BadData
        As `bar_length`.
    """
    length_us = bar_length(ts) // timedelta(microseconds=1)
    opens = microseconds(ts)
    return len(ts) * YEAR_US / int(opens[-1] - opens[0] + length_us)


@njit
def _smallest_step(opens: Integers) -> int:
    smallest = opens[1] - opens[0]
    # Of most clocks the first step is the smallest, which one vectorised pass proves.
    if _any_shorter(opens, smallest):
        for i in range(2, len(opens)):
            smallest = min(smallest, opens[i] - opens[i - 1])
    return int(smallest)


@njit
def _any_shorter(opens: Integers, step: int) -> bool:
    found = False
    for i in range(1, len(opens)):
        found |= opens[i] - opens[i - 1] < step
    return found
