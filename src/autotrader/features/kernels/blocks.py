"""Blocks between fixed instants, and sums over windows that are put together from them."""

from __future__ import annotations

import numpy as np

from autotrader.features.compiled import kernel
from autotrader.features.kernels.layout import BACKWARD, DEVIATION, FORWARD, SPREAD, Floats, Ints


@kernel
def block_starts(ts: Ints, bars: int, interval_us: int, begin: int, starts: Ints) -> None:
    """For each bar from `begin` on, the first bar of its block that is not before `begin`."""
    length = bars * interval_us
    start = begin
    boundary = (ts[begin] // length + 1) * length
    for i in range(begin, ts.size):
        if ts[i] >= boundary:
            boundary = (ts[i] // length + 1) * length
            start = i
        starts[i] = start


@kernel
def pair_sums(x: Floats, y: Floats, bars: int, first: int, starts: Ints, work: Floats) -> None:
    """Sums of two series over a window of bars, into rows DEVIATION and SPREAD."""
    begin = max(first - bars + 1, 0)
    xs, ys, xs_back, ys_back = work[FORWARD], work[FORWARD + 1], work[BACKWARD], work[BACKWARD + 1]
    x_sum = y_sum = 0.0
    for i in range(begin, x.size):
        if starts[i] == i:
            x_sum = y_sum = 0.0
        x_sum += x[i]
        y_sum += y[i]
        xs[i], ys[i] = x_sum, y_sum
    for i in range(x.size - 1, begin - 1, -1):
        if i + 1 == x.size or starts[i + 1] == i + 1:
            x_sum = y_sum = 0.0
        x_sum += x[i]
        y_sum += y[i]
        xs_back[i], ys_back[i] = x_sum, y_sum
    for i in range(first, x.size):
        begin = i - bars + 1
        if begin < 0:
            work[DEVIATION, i] = work[SPREAD, i] = np.nan
            continue
        x_sum, y_sum = xs[i], ys[i]
        if starts[i] > begin:
            last = starts[i] - 1
            while starts[last] > begin:
                x_sum += xs[last]
                y_sum += ys[last]
                last = starts[last] - 1
            x_sum += xs_back[begin]
            y_sum += ys_back[begin]
        work[DEVIATION, i] = x_sum
        work[SPREAD, i] = y_sum
