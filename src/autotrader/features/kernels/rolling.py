"""Returns, volatilities, z-scores, Bollinger bands and regimes."""

from __future__ import annotations

import math

import numpy as np

from autotrader.features.compiled import kernel
from autotrader.features.kernels.layout import (
    BACKWARD,
    BOLLINGER_LOWER,
    BOLLINGER_UPPER,
    CHANGE,
    CHANGE_SPREAD,
    DEVIATION,
    FORWARD,
    LOG_RETURN,
    LOG_RETURNS,
    PARKINSON,
    RANGE_SQUARED,
    RANGE_SUM,
    SHORT_SPREAD,
    SIMPLE_RETURN,
    SPREAD,
    TREND_REGIME,
    VOLATILITY,
    VOLATILITY_REGIME,
    ZSCORE,
    Floats,
    Ints,
    Output,
)
from autotrader.features.kernels.per_bar import log_ratios

# A regime of volatility is high or low when that of 20 bars is this far from that of 200.
LOW_VOLATILITY_RATIO = 0.75
HIGH_VOLATILITY_RATIO = 1.25
# A trend is a mean return of 200 bars that is this many standard errors from zero.
TREND_T = 1.0


@kernel
def window(
    close: Floats, bars: int, column: int, first: int, starts: Ints, work: Floats, out: Output, at: int
) -> None:
    """Returns, volatilities and z-score over a window of bars, into six columns of `out`."""
    block_moments(close, max(first - bars + 1, 0), starts, work)
    window_moments(close, bars, first, starts, work)
    n = close.size - first
    deviation, spread = work[DEVIATION, first:], work[SPREAD, first:]
    change_spread, range_sum = work[CHANGE_SPREAD, first:], work[RANGE_SUM, first:]
    volatility, parkinson = out[column + VOLATILITY, at:], out[column + PARKINSON, at:]
    z_score = out[column + ZSCORE, at:]
    scale = 1 / (4 * math.log(2.0) * bars)
    for i in range(n):
        volatility[i] = math.sqrt(change_spread[i] / (bars - 1))
        parkinson[i] = math.sqrt(range_sum[i] * scale)
        deviations = deviation[i] / math.sqrt(spread[i] / (bars - 1))
        z_score[i] = 0.0 if spread[i] == 0.0 else deviations

    log_return, simple_return = out[column + LOG_RETURN, at:], out[column + SIMPLE_RETURN, at:]
    blank = min(max(bars - first, 0), n)
    log_return[:blank] = np.nan
    simple_return[:blank] = np.nan
    work[LOG_RETURNS, first : first + blank] = np.nan
    if blank < n:
        now = close[first + blank :]
        then = close[first + blank - bars : close.size - bars]
        ratios = work[LOG_RETURNS, first + blank : close.size]
        log_ratios(now, then, ratios)
        log_return, simple_return = log_return[blank:], simple_return[blank:]
        for i in range(n - blank):
            log_return[i] = ratios[i]
            simple_return[i] = (now[i] - then[i]) / then[i]


@kernel
def block_moments(close: Floats, begin: int, starts: Ints, work: Floats) -> None:
    """Sums inside each block, up to every bar and from every bar to the block's end.

    Of closes and of changes the first and second moment, forwards about the block's first value,
    backwards about its last; of squared ranges the sum.
    """
    change, ranges = work[CHANGE], work[RANGE_SQUARED]
    c, cc, r, rr, p = (
        work[FORWARD],
        work[FORWARD + 1],
        work[FORWARD + 2],
        work[FORWARD + 3],
        work[FORWARD + 4],
    )
    c_sum = cc_sum = r_sum = rr_sum = p_sum = 0.0
    close_0, change_0 = close[begin], change[begin]
    for i in range(begin, close.size):
        if starts[i] == i:
            c_sum = cc_sum = r_sum = rr_sum = p_sum = 0.0
            close_0, change_0 = close[i], change[i]
        dc, dr = close[i] - close_0, change[i] - change_0
        c_sum += dc
        cc_sum += dc * dc
        r_sum += dr
        rr_sum += dr * dr
        p_sum += ranges[i]
        c[i], cc[i], r[i], rr[i], p[i] = c_sum, cc_sum, r_sum, rr_sum, p_sum

    c, cc, r, rr, p = (
        work[BACKWARD],
        work[BACKWARD + 1],
        work[BACKWARD + 2],
        work[BACKWARD + 3],
        work[BACKWARD + 4],
    )
    for i in range(close.size - 1, begin - 1, -1):
        if i + 1 == close.size or starts[i + 1] == i + 1:
            c_sum = cc_sum = r_sum = rr_sum = p_sum = 0.0
            close_0, change_0 = close[i], change[i]
        dc, dr = close[i] - close_0, change[i] - change_0
        c_sum += dc
        cc_sum += dc * dc
        r_sum += dr
        rr_sum += dr * dr
        p_sum += ranges[i]
        c[i], cc[i], r[i], rr[i], p[i] = c_sum, cc_sum, r_sum, rr_sum, p_sum


@kernel
def window_moments(close: Floats, bars: int, first: int, starts: Ints, work: Floats) -> None:
    """Join the sums inside blocks to those of each row's window: mean and centred second moments."""
    change = work[CHANGE]
    c, cc, r, rr, p = (
        work[FORWARD],
        work[FORWARD + 1],
        work[FORWARD + 2],
        work[FORWARD + 3],
        work[FORWARD + 4],
    )
    c_back, cc_back, r_back, rr_back, p_back = (
        work[BACKWARD],
        work[BACKWARD + 1],
        work[BACKWARD + 2],
        work[BACKWARD + 3],
        work[BACKWARD + 4],
    )
    for i in range(first, close.size):
        begin = i - bars + 1
        if begin < 0:
            for row in range(DEVIATION, RANGE_SUM + 1):
                work[row, i] = np.nan
            continue
        block = starts[i]
        c_sum, cc_sum, r_sum, rr_sum, p_sum = c[i], cc[i], r[i], rr[i], p[i]
        if block > begin:
            last = block - 1
            while starts[last] > begin:
                start = starts[last]
                n = last - start + 1
                dc, dr = close[start] - close[block], change[start] - change[block]
                cc_sum += cc[last] + dc * (2 * c[last] + n * dc)
                rr_sum += rr[last] + dr * (2 * r[last] + n * dr)
                c_sum += c[last] + n * dc
                r_sum += r[last] + n * dr
                p_sum += p[last]
                last = start - 1
            n = last - begin + 1
            dc, dr = close[last] - close[block], change[last] - change[block]
            cc_sum += cc_back[begin] + dc * (2 * c_back[begin] + n * dc)
            rr_sum += rr_back[begin] + dr * (2 * r_back[begin] + n * dr)
            c_sum += c_back[begin] + n * dc
            r_sum += r_back[begin] + n * dr
            p_sum += p_back[begin]
        c_mean, r_mean = c_sum / bars, r_sum / bars
        c_spread, r_spread = cc_sum - c_sum * c_mean, rr_sum - r_sum * r_mean
        work[DEVIATION, i] = (close[i] - close[block]) - c_mean
        # Rounding may leave a constant window a hair below zero.
        work[SPREAD, i] = 0.0 if c_spread < 0.0 else c_spread  # noqa: FURB136 - max would hide a NaN
        work[CHANGE_SPREAD, i] = 0.0 if r_spread < 0.0 else r_spread  # noqa: FURB136
        work[RANGE_SUM, i] = p_sum


@kernel
def bollinger(close: Floats, first: int, work: Floats, out: Output, at: int) -> None:
    """Distances to the bands at two population standard deviations, after `window` of 20 bars."""
    deviation, spread, newest = work[DEVIATION, first:], work[SPREAD, first:], close[first:]
    upper, lower = out[BOLLINGER_UPPER, at:], out[BOLLINGER_LOWER, at:]
    for i in range(newest.size):
        band = 2 * math.sqrt(spread[i] / 20)
        upper[i] = (band - deviation[i]) / newest[i]
        lower[i] = (band + deviation[i]) / newest[i]


@kernel
def keep_short_spread(first: int, size: int, work: Floats) -> None:
    for i in range(first, size):
        work[SHORT_SPREAD, i] = work[CHANGE_SPREAD, i]


@kernel
def regimes(first: int, size: int, work: Floats, out: Output, at: int) -> None:
    """Classes of volatility and trend, after `window` of 200 bars."""
    volatility, trend = out[VOLATILITY_REGIME, at:], out[TREND_REGIME, at:]
    short_spread, spread = work[SHORT_SPREAD, first:], work[CHANGE_SPREAD, first:]
    log_return = work[LOG_RETURNS, first:]
    for i in range(size - first):
        short, long = math.sqrt(short_spread[i] / 19), math.sqrt(spread[i] / 199)
        hurdle = TREND_T * math.sqrt(200.0) * long
        unknown = long - long
        calm = -1.0 if short < LOW_VOLATILITY_RATIO * long else unknown
        volatility[i] = 1.0 if short > HIGH_VOLATILITY_RATIO * long else calm
        falling = -1.0 if log_return[i] < -hurdle else unknown
        trend[i] = 1.0 if log_return[i] > hurdle else falling
