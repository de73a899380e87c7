"""RSI, MACD and ATR: exponential averages over a finite number of bars."""

from __future__ import annotations

import math

import numpy as np

from autotrader.features.compiled import kernel
from autotrader.features.kernels.layout import (
    ATR,
    BACKWARD,
    DEVIATION,
    FORWARD,
    GAIN,
    LINE,
    LOSS,
    MACD_HISTOGRAM,
    MACD_LINE,
    MACD_SIGNAL,
    RANGE_SUM,
    RSI,
    SIGNAL_SMOOTHING,
    SMOOTHING,
    SPREAD,
    TRUE_RANGE,
    Floats,
    Ints,
    Output,
)


def _powers(decay: float, bars: int) -> Floats:
    return np.array([decay**k for k in range(bars + 1)])


EWM_12, EWM_26, EWM_9, WILDER_14 = 1 - 2 / 13, 1 - 2 / 27, 1 - 2 / 10, 1 - 1 / 14
POWERS_12, POWERS_26 = _powers(EWM_12, SMOOTHING), _powers(EWM_26, SMOOTHING)
POWERS_14, POWERS_9 = _powers(WILDER_14, SMOOTHING), _powers(EWM_9, SIGNAL_SMOOTHING)
WEIGHT_12, WEIGHT_26 = math.fsum(POWERS_12[:SMOOTHING]), math.fsum(POWERS_26[:SMOOTHING])
WEIGHT_14, WEIGHT_9 = math.fsum(POWERS_14[:SMOOTHING]), math.fsum(POWERS_9[:SIGNAL_SMOOTHING])


@kernel
def block_averages(close: Floats, begin: int, starts: Ints, work: Floats) -> None:
    """Exponentially weighted sums inside each block, up to every bar and from every bar on.

    Of the close for MACD, of gains, losses and true ranges for RSI and ATR. The newest bar of a sum
    weighs 1.
    """
    gain, loss, true_range = work[GAIN], work[LOSS], work[TRUE_RANGE]
    fast, slow, up, down, width = (
        work[FORWARD],
        work[FORWARD + 1],
        work[FORWARD + 2],
        work[FORWARD + 3],
        work[FORWARD + 4],
    )
    fast_sum = slow_sum = up_sum = down_sum = width_sum = 0.0
    for i in range(begin, close.size):
        if starts[i] == i:
            fast_sum = slow_sum = up_sum = down_sum = width_sum = 0.0
        fast_sum = EWM_12 * fast_sum + close[i]
        slow_sum = EWM_26 * slow_sum + close[i]
        up_sum = WILDER_14 * up_sum + gain[i]
        down_sum = WILDER_14 * down_sum + loss[i]
        width_sum = WILDER_14 * width_sum + true_range[i]
        fast[i], slow[i], up[i], down[i], width[i] = fast_sum, slow_sum, up_sum, down_sum, width_sum

    fast, slow, up, down, width = (
        work[BACKWARD],
        work[BACKWARD + 1],
        work[BACKWARD + 2],
        work[BACKWARD + 3],
        work[BACKWARD + 4],
    )
    age = 0
    for i in range(close.size - 1, begin - 1, -1):
        if i + 1 == close.size or starts[i + 1] == i + 1:
            fast_sum = slow_sum = up_sum = down_sum = width_sum = 0.0
            age = 0
        fast_sum += POWERS_12[age] * close[i]
        slow_sum += POWERS_26[age] * close[i]
        up_sum += POWERS_14[age] * gain[i]
        down_sum += POWERS_14[age] * loss[i]
        width_sum += POWERS_14[age] * true_range[i]
        fast[i], slow[i], up[i], down[i], width[i] = fast_sum, slow_sum, up_sum, down_sum, width_sum
        age += 1


@kernel
def macd_line(first: int, size: int, starts: Ints, work: Floats) -> None:
    """Difference of the averages of 12 and 26 bars, in units of price, after `block_averages`."""
    fast, slow, fast_back, slow_back, line = (
        work[FORWARD],
        work[FORWARD + 1],
        work[BACKWARD],
        work[BACKWARD + 1],
        work[LINE],
    )
    for i in range(first, size):
        begin = i - SMOOTHING + 1
        if begin < 0:
            line[i] = np.nan
            continue
        fast_sum, slow_sum, block = fast[i], slow[i], starts[i]
        if block > begin:
            last = block - 1
            while starts[last] > begin:
                fast_sum += POWERS_12[i - last] * fast[last]
                slow_sum += POWERS_26[i - last] * slow[last]
                last = starts[last] - 1
            fast_sum += POWERS_12[i - last] * fast_back[begin]
            slow_sum += POWERS_26[i - last] * slow_back[begin]
        line[i] = fast_sum * (1 / WEIGHT_12) - slow_sum * (1 / WEIGHT_26)


@kernel
def wilder(close: Floats, first: int, starts: Ints, work: Floats, out: Output, at: int) -> None:
    """RSI, and ATR as a share of the close, with Wilder's smoothing, after `block_averages`."""
    up, down, width = work[FORWARD + 2], work[FORWARD + 3], work[FORWARD + 4]
    up_back, down_back, width_back = work[BACKWARD + 2], work[BACKWARD + 3], work[BACKWARD + 4]
    ups, downs, widths = work[DEVIATION, first:], work[SPREAD, first:], work[RANGE_SUM, first:]
    for i in range(first, close.size):
        begin = i - SMOOTHING + 1
        row = i - first
        if begin < 0:
            ups[row] = downs[row] = widths[row] = np.nan
            continue
        up_sum, down_sum, width_sum, block = up[i], down[i], width[i], starts[i]
        if block > begin:
            last = block - 1
            while starts[last] > begin:
                weight = POWERS_14[i - last]
                up_sum += weight * up[last]
                down_sum += weight * down[last]
                width_sum += weight * width[last]
                last = starts[last] - 1
            weight = POWERS_14[i - last]
            up_sum += weight * up_back[begin]
            down_sum += weight * down_back[begin]
            width_sum += weight * width_back[begin]
        ups[row], downs[row], widths[row] = up_sum, down_sum, width_sum
    rsi, atr, newest = out[RSI, at:], out[ATR, at:], close[first:]
    for i in range(newest.size):
        moved = ups[i] + downs[i]
        strength = 100 * ups[i] / moved
        rsi[i] = 50.0 if moved == 0.0 else strength
        atr[i] = widths[i] * (1 / WEIGHT_14) / newest[i]


@kernel
def macd_signal(close: Floats, first: int, starts: Ints, work: Floats, out: Output, at: int) -> None:
    """The MACD line, its exponential average and their difference, as shares of the close."""
    line, forward, backward = work[LINE], work[FORWARD], work[BACKWARD]
    begin = max(first - SIGNAL_SMOOTHING + 1, 0)
    total = 0.0
    for i in range(begin, close.size):
        if starts[i] == i:
            total = 0.0
        total = EWM_9 * total + line[i]
        forward[i] = total
    age = 0
    for i in range(close.size - 1, begin - 1, -1):
        if i + 1 == close.size or starts[i + 1] == i + 1:
            total = 0.0
            age = 0
        total += POWERS_9[age] * line[i]
        backward[i] = total
        age += 1
    signals = work[DEVIATION, first:]
    for i in range(first, close.size):
        begin = i - SIGNAL_SMOOTHING + 1
        if begin < 0:
            signals[i - first] = np.nan
            continue
        total, block = forward[i], starts[i]
        if block > begin:
            last = block - 1
            while starts[last] > begin:
                total += POWERS_9[i - last] * forward[last]
                last = starts[last] - 1
            total += POWERS_9[i - last] * backward[begin]
        signals[i - first] = total * (1 / WEIGHT_9)
    macd, signal, histogram = out[MACD_LINE, at:], out[MACD_SIGNAL, at:], out[MACD_HISTOGRAM, at:]
    newest, lines = close[first:], line[first:]
    for i in range(newest.size):
        macd[i] = lines[i] / newest[i]
        signal[i] = signals[i] / newest[i]
        histogram[i] = (lines[i] - signals[i]) / newest[i]
