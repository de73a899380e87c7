"""The kernels put together: the rows of a series of bars, in one compiled call."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autotrader.features.compiled import entry_point
from autotrader.features.kernels.averages import block_averages, macd_line, macd_signal, wilder
from autotrader.features.kernels.blocks import block_starts, pair_sums
from autotrader.features.kernels.calendar import calendar
from autotrader.features.kernels.layout import (
    LOOKBACK,
    PRICE_VOLUME,
    ROLLING,
    ROWS_AT_A_TIME,
    SIGNAL_SMOOTHING,
    SMOOTHING,
    WINDOWS,
    Floats,
    Ints,
    Output,
)
from autotrader.features.kernels.per_bar import per_bar
from autotrader.features.kernels.ranks import percentiles
from autotrader.features.kernels.rolling import bollinger, keep_short_spread, regimes, window
from autotrader.features.kernels.volume import obv_slope, taker_buy_share, vwap


@entry_point
def fill(
    ts: Ints,
    high: Floats,
    low: Floats,
    close: Floats,
    volume: Floats,
    taker_buy: Floats,
    interval_us: int,
    session_opens: NDArray[np.int16],
    session_origin: int,
    first: int,
    stop: int,
    workspace: Floats,
    starts: Ints,
    out: Output,
    origin: int,
) -> None:
    """Evaluate the features of bars [first, stop).

    Parameters
    ----------
    ts : int64 array (n,)
        Bar opens in microseconds since 1970, UTC, strictly increasing, at least an interval apart.
    high, low, close, volume, taker_buy : float64 arrays (n,)
        Prices positive; NaN where unknown.
    session_opens : int16 array (3, days)
        See `autotrader.features.sessions`; the first day is day `session_origin` since 1970.
    workspace, starts : float64 array of WORKSPACE_SHAPE, int64 array (WORKSPACE_SHAPE[1],)
        Scratch, one per thread.
    out : float32 or float64 array (len(COLUMNS), m)
        Column k is written with the features of bar origin + k.
    """
    for begin in range(first, stop, ROWS_AT_A_TIME):
        end = min(begin + ROWS_AT_A_TIME, stop)
        oldest = max(begin - LOOKBACK + 1, 0)
        times, closes, volumes = ts[oldest:end], close[oldest:end], volume[oldest:end]
        row, to = begin - oldest, begin - origin
        per_bar(high[oldest:end], low[oldest:end], closes, volumes, workspace)

        first_line = max(row - SIGNAL_SMOOTHING + 1, 0)
        block_starts(times, WINDOWS[4], interval_us, max(first_line - SMOOTHING + 1, 0), starts)
        block_averages(closes, max(first_line - SMOOTHING + 1, 0), starts, workspace)
        macd_line(first_line, closes.size, starts, workspace)
        wilder(closes, row, starts, workspace, out, to)
        block_starts(times, WINDOWS[3], interval_us, first_line, starts)
        macd_signal(closes, row, starts, workspace, out, to)

        for nth in range(3):
            bars = WINDOWS[nth]
            block_starts(times, bars, interval_us, max(row - bars + 1, 0), starts)
            window(closes, bars, ROLLING + 6 * nth, row, starts, workspace, out, to)
            if nth == 0:
                bollinger(closes, row, workspace, out, to)
                keep_short_spread(row, closes.size, workspace)
                pair_sums(volumes, taker_buy[oldest:end], bars, row, starts, workspace)
                taker_buy_share(row, closes.size, workspace, out, to)
                obv_slope(row, closes.size, workspace, out, to)
            elif nth == 1:
                pair_sums(volumes, workspace[PRICE_VOLUME], bars, row, starts, workspace)
                vwap(closes, row, workspace, out, to)
        regimes(row, closes.size, workspace, out, to)
        percentiles(closes, row, workspace, out, to)
        calendar(ts[begin:end], session_opens, session_origin, starts, out, to)


@entry_point
def fill_newest(
    ts: Ints,
    columns: Floats,
    count: int,
    end: int,
    interval_us: int,
    session_opens: NDArray[np.int16],
    session_origin: int,
    workspace: Floats,
    starts: Ints,
    out: Output,
) -> None:
    """Evaluate the features of bar end - 1 from the `count` bars before `end`.

    Parameters
    ----------
    columns : float64 array (5, n)
        High, low, close, volume, taker-buy volume.
    out : float32 or float64 array (len(COLUMNS), 1)
    """
    begin = end - count
    fill(
        ts[begin:end],
        columns[0][begin:end],
        columns[1][begin:end],
        columns[2][begin:end],
        columns[3][begin:end],
        columns[4][begin:end],
        interval_us,
        session_opens,
        session_origin,
        count - 1,
        count,
        workspace,
        starts,
        out,
        count - 1,
    )
