"""Series that one bar and the close before it give."""

from __future__ import annotations

import math

import numpy as np

from autotrader.features.compiled import kernel
from autotrader.features.kernels.layout import (
    CHANGE,
    GAIN,
    LOSS,
    PRICE_VOLUME,
    RANGE_SQUARED,
    SIGNED_VOLUME,
    TRUE_RANGE,
    Floats,
)


@kernel
def per_bar(high: Floats, low: Floats, close: Floats, volume: Floats, work: Floats) -> None:
    """What one bar and the close before it say."""
    n = close.size
    log_ratios(high, low, work[RANGE_SQUARED])
    range_squared, price_volume = work[RANGE_SQUARED], work[PRICE_VOLUME]
    for i in range(n):
        range_squared[i] *= range_squared[i]
        price_volume[i] = (high[i] + low[i] + close[i]) * (1 / 3) * volume[i]
    for row in (CHANGE, GAIN, LOSS, TRUE_RANGE, SIGNED_VOLUME):
        work[row, 0] = np.nan
    before, after, traded, top, bottom = close[: n - 1], close[1:], volume[1:], high[1:], low[1:]
    log_ratios(after, before, work[CHANGE, 1:])
    gain, loss, true_range = work[GAIN, 1:], work[LOSS, 1:], work[TRUE_RANGE, 1:]
    signed_volume = work[SIGNED_VOLUME, 1:]
    for i in range(n - 1):
        # Comparisons are worded so that NaN passes through them.
        step = after[i] - before[i]
        gain[i] = 0.0 if step <= 0.0 else step  # noqa: FURB136
        loss[i] = 0.0 if step >= 0.0 else -step
        highest = before[i] if before[i] > top[i] else top[i]  # noqa: FURB136
        lowest = before[i] if before[i] < bottom[i] else bottom[i]  # noqa: FURB136
        true_range[i] = highest - lowest + (before[i] - before[i])
        fallen = -traded[i] if step < 0.0 else step
        signed_volume[i] = traded[i] if step > 0.0 else fallen


@kernel
def log_ratios(above: Floats, below: Floats, ratios: Floats) -> None:
    """log(above / below) exact to the last bits near 1 too, as 2 artanh((a - b) / (a + b))."""
    for i in range(above.size):
        z = (above[i] - below[i]) / (above[i] + below[i])
        q = z * z
        series = 1 / 3 + q * (1 / 5 + q * (1 / 7 + q * (1 / 9 + q * (1 / 11))))
        ratios[i] = 2 * z * (1 + q * series)
    # The series is cut for ratios within six per cent; the rest is rare.
    for i in range(above.size):
        if not -0.06 < ratios[i] < 0.06:
            ratios[i] = math.log(above[i] / below[i])
