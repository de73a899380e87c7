"""Taker-buy share, slope of on-balance volume, distance from the volume-weighted price."""

from __future__ import annotations

import numpy as np

from autotrader.features.compiled import kernel
from autotrader.features.kernels.layout import (
    DEVIATION,
    FORWARD,
    OBV,
    SIGNED_VOLUME,
    SPREAD,
    TAKER,
    VWAP,
    Floats,
    Output,
)

# Least squares slope of a running sum over 20 points, as weights of its increments. They are
# symmetric; the tenth stands in the middle and is counted from both sides.
OBV_WEIGHTS = np.array([k * (20 - k) / 2 / (20 * (20**2 - 1) / 12) for k in range(11)])
OBV_WEIGHTS[10] /= 2


@kernel
def taker_buy_share(first: int, size: int, work: Floats, out: Output, at: int) -> None:
    """Share of the volume of 20 bars that buyers took, after `pair_sums` of both."""
    traded, bought, share = work[DEVIATION, first:], work[SPREAD, first:], out[TAKER, at:]
    for i in range(size - first):
        share[i] = bought[i] / traded[i]


@kernel
def obv_slope(first: int, size: int, work: Floats, out: Output, at: int) -> None:
    """Slope of on-balance volume, in mean volumes of a bar, after `pair_sums` of the volume."""
    n = size - first
    slope, traded, result = work[FORWARD, :n], work[DEVIATION, first:], out[OBV, at:]
    blank = min(max(19 - first, 0), n)
    slope[:blank] = np.nan
    slope[blank:] = 0.0
    begin, end = first + blank - 19, size - 19
    signed, filled = work[SIGNED_VOLUME], slope[blank:]
    for k in range(1, 11):
        # The weights are symmetric; the tenth stands in the middle and meets itself.
        early, late = signed[begin + k : end + k], signed[begin + 20 - k : end + 20 - k]
        weight = OBV_WEIGHTS[k]
        for i in range(n - blank):
            filled[i] += (early[i] + late[i]) * weight
    for i in range(n):
        result[i] = slope[i] / (traded[i] / 20)


@kernel
def vwap(close: Floats, first: int, work: Floats, out: Output, at: int) -> None:
    """Distance of the close from the mean price paid in 50 bars, after `pair_sums` of both."""
    traded, paid, newest = work[DEVIATION, first:], work[SPREAD, first:], close[first:]
    distance = out[VWAP, at:]
    for i in range(newest.size):
        distance[i] = (newest[i] * traded[i] - paid[i]) / paid[i]
