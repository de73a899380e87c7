"""What a model is asked to foresee: the sign of a move beyond costs, on the time grid.

A label at `ts` belongs to a decision at the close of bar `ts`. It is known at `end_ts`, and no
training set may hold it before that instant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from autotrader.config.settings import LabelKind, StrategySettings
from autotrader.domain.errors import BadData
from autotrader.execution.arrays import Booleans, Floats, Integers, Times
from autotrader.execution.clock import bar_length, microseconds
from autotrader.execution.compiled import njit
from autotrader.execution.costs import BPS


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of one instrument's bars, row for row.

    Attributes
    ----------
    label : int8[n]
        +1 where a long earned more than its costs, -1 where a short did, else 0. Meaningless
        where not valid.
    forward_return : float64[n]
        Simple gross return from the bar's close to the exit; NaN where not valid.
    end_ts : datetime64[us][n]
        When the label is known: the close of the exit bar; NaT where not valid.
    valid : bool[n]
        False: the horizon is not there in full, so there is no label. Such rows are dropped, they
        are no "hold".
    """

    label: npt.NDArray[np.int8]
    forward_return: Floats
    end_ts: Times
    valid: Booleans


def strategy_labels(ts: Times, close: Floats, *, strategy: StrategySettings) -> Labels:
    """Labels of one instrument's bars as the strategy's settings ask for them.

    Parameters
    ----------
    ts, close
        As in `forward_return_labels`.
    strategy : StrategySettings
        Kind of label, horizon, costs, and barriers where there are any.

    Raises
    ------
    BadData
        As `forward_return_labels`.
    """
    horizon, rule = timedelta(minutes=strategy.horizon_minutes), strategy.labels
    if rule.kind is LabelKind.FORWARD_RETURN:
        return forward_return_labels(
            ts, close, horizon=horizon, round_trip_cost_bps=strategy.round_trip_cost_bps
        )
    return triple_barrier_labels(
        ts,
        close,
        trailing_volatility(close, rule.volatility_span_bars),
        horizon=horizon,
        profit_multiple=rule.profit_multiple,
        stop_multiple=rule.stop_multiple,
        round_trip_cost_bps=strategy.round_trip_cost_bps,
    )


def trailing_volatility(close: Floats, span: int) -> Floats:
    """Standard deviation of the simple returns of the last `span` bars, each row's own among them.

    Parameters
    ----------
    close : float64[n]
    span : int
        Returns in the window, 2 or more; the window is finite, so that a row's value does not
        depend on where the bars begin.

    Returns
    -------
    float64[n]
        With n - 1 in the denominator; NaN where a price of the window is missing or not above zero.
    """
    volatility = np.full(len(close), math.nan)
    _fill_volatility(close, span, volatility)
    return volatility


def forward_return_labels(
    ts: Times, close: Floats, *, horizon: timedelta, round_trip_cost_bps: float
) -> Labels:
    """Sign of the return over the horizon, net of a round trip's costs.

    The horizon is time, not rows: the exit is the close of the bar that opened exactly `horizon`
    after the row's. Without that bar (a gap, a closed market, the end of the data) there is no
    label; holes before it do no harm.

    Parameters
    ----------
    ts : datetime64[n]
        Bar opens of one instrument, strictly increasing.
    close : float64[n]
        Rows without a price above zero have no label and end none.
    horizon : timedelta
        Above zero.
    round_trip_cost_bps : float
        Basis points of the notional (10 is 0.001), 0 or more.

    Raises
    ------
    BadData
        If shapes differ, or opens do not strictly increase, or a parameter is out of range.
    """
    _require(ts, horizon, round_trip_cost_bps, close=close)
    exits = np.full(len(ts), -1, np.int64)
    _find_exits(microseconds(ts), horizon // timedelta(microseconds=1), exits)
    return _labels(ts, close, exits, round_trip_cost_bps)


def triple_barrier_labels(
    ts: Times,
    close: Floats,
    volatility: Floats,
    *,
    horizon: timedelta,
    profit_multiple: float,
    stop_multiple: float,
    round_trip_cost_bps: float,
) -> Labels:
    """Return at the first barrier that is touched, net of costs (Lopez de Prado 2018, chapter 3).

    Barriers lie `profit_multiple` above and `stop_multiple` below the entry, in units of the
    volatility over the horizon; the third is the horizon's end. A touch is seen at a bar's close,
    where a live system could act on it, so no order of high and low within a bar is assumed. The
    label is the sign of the return at the exit beyond costs, as in `forward_return_labels`, which
    this equals where the first two barriers are out of reach.

    Parameters
    ----------
    ts, close, horizon, round_trip_cost_bps
        As in `forward_return_labels`.
    volatility : float64[n]
        Standard deviation of the simple return of one bar, known at the row's close. It is scaled
        by the root of the horizon in bars. Rows without one above zero have no label.
    profit_multiple, stop_multiple : float
        Above zero; infinity takes the barrier away.

    Raises
    ------
    BadData
        As `forward_return_labels`.
    """
    _require(ts, horizon, round_trip_cost_bps, close=close, volatility=volatility)
    for name, multiple in {"profit_multiple": profit_multiple, "stop_multiple": stop_multiple}.items():
        if not multiple > 0:
            raise BadData(f"expected {name} above zero, was {multiple}")
    exits = np.full(len(ts), -1, np.int64)
    if len(ts) > 1:
        width = volatility * math.sqrt(horizon / bar_length(ts))
        horizon_us = horizon // timedelta(microseconds=1)
        _find_touches(microseconds(ts), close, width, horizon_us, profit_multiple, stop_multiple, exits)
    return _labels(ts, close, exits, round_trip_cost_bps)


def _require(ts: Times, horizon: timedelta, cost_bps: float, **columns: Floats) -> None:
    for name, column in columns.items():
        if len(column) != len(ts):
            raise BadData(f"expected {name} for each of {len(ts)} bars, were {len(column)}")
    if horizon <= timedelta(0):
        raise BadData(f"expected a horizon above zero, was {horizon}")
    if not 0 <= cost_bps < math.inf:
        raise BadData(f"expected costs of 0 or more basis points, were {cost_bps}")


def _labels(ts: Times, close: Floats, exits: Integers, cost_bps: float) -> Labels:
    entries = np.flatnonzero(exits >= 0)
    ends = exits[entries]
    gains = np.full(len(ts), math.nan)
    end_ts = np.full(len(ts), np.datetime64("NaT", "us"))
    if len(ts) > 1:
        priced = (close[entries] > 0) & (close[ends] > 0)
        entries, ends = entries[priced], ends[priced]
        gains[entries] = close[ends] / close[entries] - 1.0
        end_ts[entries] = ts[ends].astype("datetime64[us]") + np.timedelta64(bar_length(ts))
    cost = cost_bps * BPS
    label = (gains > cost).astype(np.int8) - (gains < -cost).astype(np.int8)
    return Labels(label, gains, end_ts, ~np.isnan(gains))


@njit
def _fill_volatility(close: Floats, span: int, volatility: Floats) -> None:
    """Each window on its own, in two passes: no sum is carried along, so no error adds up."""
    for i in range(span, len(close)):
        good, mean = True, 0.0
        for j in range(i - span + 1, i + 1):
            good &= (close[j] > 0.0) & (close[j - 1] > 0.0)
            mean += close[j] / close[j - 1] - 1.0
        if not good:
            continue
        mean /= span
        squares = 0.0
        for j in range(i - span + 1, i + 1):
            away = close[j] / close[j - 1] - 1.0 - mean
            squares += away * away
        volatility[i] = math.sqrt(squares / (span - 1))


@njit
def _find_exits(opens_us: Integers, horizon_us: int, exits: Integers) -> None:
    """Row whose open is exactly the horizon after each row's."""
    j = 0
    for i in range(len(opens_us)):
        while j < len(opens_us) and opens_us[j] < opens_us[i] + horizon_us:
            j += 1
        if j < len(opens_us) and opens_us[j] == opens_us[i] + horizon_us:
            exits[i] = j


@njit
def _find_touches(
    opens_us: Integers,
    close: Floats,
    width: Floats,
    horizon_us: int,
    profit_multiple: float,
    stop_multiple: float,
    exits: Integers,
) -> None:
    """Row of the first close at or beyond a barrier, else the one at the horizon's end."""
    n = len(close)
    for i in range(n):
        if not (width[i] > 0.0 and width[i] < math.inf and close[i] > 0.0):
            continue
        upper = close[i] * (1.0 + profit_multiple * width[i])
        lower = close[i] * (1.0 - stop_multiple * width[i])
        end = opens_us[i] + horizon_us
        j = i + 1
        while j < n and opens_us[j] <= end:
            if close[j] >= upper or close[j] <= lower or opens_us[j] == end:
                exits[i] = j
                break
            j += 1
