"""Percentiles: where the newest close stands among those of its window."""

from __future__ import annotations

import numpy as np

from autotrader.features.compiled import kernel
from autotrader.features.kernels.layout import (
    FORWARD,
    PERCENTILE,
    ROLLING,
    WINDOWS,
    ZSCORE,
    Floats,
    Output,
)


@kernel
def percentiles(close: Floats, first: int, work: Floats, out: Output, at: int) -> None:
    """Average rank of the newest close among those of each window, as a share of the window."""
    n = close.size - first
    doubled = work[FORWARD, :n]
    doubled[:] = 0.0
    counted = 0
    for nth in range(3):
        bars = WINDOWS[nth]
        add_ranks(close, first, counted, bars, doubled)
        counted = bars
        column = ROLLING + 6 * nth
        z_score, percentile = out[column + ZSCORE, at:], out[column + PERCENTILE, at:]
        scale = 1 / (2 * bars)
        for i in range(n):
            # Comparisons hide a NaN; the z-score of the window has it.
            hidden = 0.0 if z_score[i] == z_score[i] else np.nan
            percentile[i] = (doubled[i] + 1) * scale + hidden


@kernel
def add_ranks(close: Floats, first: int, begin: int, end: int, doubled: Floats) -> None:
    """Count closes `begin` to `end` bars back: two for one below the newest, one for an equal one."""
    blank = min(max(end - 1 - first, 0), doubled.size)
    n = doubled.size - blank
    newest, counted = close[first + blank :], doubled[blank:]
    for back in range(begin, end, 5):
        origin = first + blank - back
        a, b, c = close[origin:], close[origin - 1 :], close[origin - 2 :]
        d, e = close[origin - 3 :], close[origin - 4 :]
        for i in range(n):
            x = newest[i]
            below = (1.0 if a[i] < x else 0.0) + (1.0 if b[i] < x else 0.0) + (1.0 if c[i] < x else 0.0)
            below += (1.0 if d[i] < x else 0.0) + (1.0 if e[i] < x else 0.0)
            within = (1.0 if a[i] <= x else 0.0) + (1.0 if b[i] <= x else 0.0)
            within += (1.0 if c[i] <= x else 0.0) + (1.0 if d[i] <= x else 0.0)
            within += 1.0 if e[i] <= x else 0.0
            counted[i] += below + within
