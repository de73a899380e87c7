"""The figures of a backtest, from its equity path and its fills."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from autotrader.execution.arrays import Floats, Integers
from autotrader.execution.compiled import njit
from autotrader.execution.fills import Fills
from autotrader.execution.net_returns import bar_return
from autotrader.training.statistics.paths import profit_factor, win_rate

PARTICIPATION = 0.02
_FILLS_WITHIN = 0.95


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a report shows of a backtest. NaN: not defined for this path.

    Attributes
    ----------
    net_pnl, costs : float
        Over the window, quote currency; `costs` are what `net_pnl` has already paid.
    net_return : float
        `net_pnl` over the starting capital.
    sharpe, sortino : float
        Annualised from the bar clock: ratio of the returns per bar times the root of
        `bars_per_year`.
    max_drawdown : float
        Largest fall of equity from a peak, as a positive fraction of the peak.
    win_rate : float
        Share of closed trades with a gain after costs.
    profit_factor : float
        Gains of winning trades over losses of losing ones; infinite without losers.
    trades : int
        Closed round trips; one that is still open counts in the PnL alone.
    fills : int
    turnover : float
        Traded notional over mean equity, both sides, over the window.
    exposure : float
        Mean absolute position value over mean equity.
    capacity : float
        Starting capital up to which 95 % of the fills take no more than 2 % of their bar's
        volume; quote currency. NaN without fills, or where the venue has no volume.
    skewness, kurtosis : float
        Of the returns per bar; 3 is the kurtosis of a normal distribution.
    bars : int
        Returns behind the ratios.
    bars_per_year : float
    """

    net_pnl: float
    net_return: float
    costs: float
    sharpe: float
    sortino: float
    max_drawdown: float
    win_rate: float
    profit_factor: float
    trades: int
    fills: int
    turnover: float
    exposure: float
    capacity: float
    skewness: float
    kurtosis: float
    bars: int
    bars_per_year: float


class PathSums(NamedTuple):
    """What one pass over an equity path leaves.

    Attributes
    ----------
    first, second, third, fourth : float
        Raw moments of the returns per bar.
    downside : float
        Mean of min(r, 0)^2.
    least, most : float
        Extremes of the returns.
    drawdown, mean_equity : float
    """

    first: float
    second: float
    third: float
    fourth: float
    downside: float
    least: float
    most: float
    drawdown: float
    mean_equity: float


@njit
def walk_path(
    equity: Floats, capital: float, begins: Integers, ends: Integers
) -> tuple[float, float, float, float, float, float, float, float, float]:
    """Sum up the returns per bar and the path; the fields of `PathSums`.

    Only rows in the ranges [begins, ends) are walked: equity moves in no other.
    """
    first = second = third = fourth = downside = total = 0.0
    least = most = 0.0
    peak, floor = capital, 1.0
    n, row, before = len(equity), 0, capital
    for k in range(len(begins)):
        total += before * (begins[k] - row)
        for i in range(begins[k], ends[k]):
            worth = equity[i]
            gain = bar_return(before, worth)
            square = gain * gain
            first += gain
            second += square
            third += square * gain
            fourth += square * square
            loss = min(gain, 0.0)
            downside += loss * loss
            least = min(least, gain)
            most = max(most, gain)
            peak = max(peak, worth)
            if worth < peak * floor:
                floor = worth / peak
            total += worth
            before = worth
        row = ends[k]
    total += before * (n - row)
    return (
        first / n,
        second / n,
        third / n,
        fourth / n,
        downside / n,
        least,
        most,
        1.0 - floor,
        total / n,
    )


def active_rows(fills: Fills, n: int) -> tuple[Integers, Integers]:
    """Ranges of rows in which equity can move: every fill's, and those after it while units are held."""
    following = np.append(fills.index[1:], n)
    ends = np.where(fills.held != 0.0, following, fills.index + 1)
    return fills.index, ends


@njit
def mean_invested(close: Floats, ends: Integers, index: Integers, held: Floats) -> float:
    """Mean over bars of the absolute value of what is held at the close."""
    total = 0.0
    for k in range(len(index)):
        if held[k] != 0.0:
            # Four sums that do not wait for each other.
            a = b = c = d = 0.0
            i = index[k]
            while i + 3 < ends[k]:
                a += close[i]
                b += close[i + 1]
                c += close[i + 2]
                d += close[i + 3]
                i += 4
            while i < ends[k]:
                a += close[i]
                i += 1
            total += abs(held[k]) * (a + b + (c + d))
    return total / len(close)


def summarise(
    sums: PathSums,
    *,
    capital: float,
    final_equity: float,
    costs: float,
    trade_pnl: Floats,
    fills: int,
    traded_notional: float,
    invested: float,
    capacity: float,
    bars: int,
    bars_a_year: float,
) -> Metrics:
    """The metrics of a path; one definition for an instrument, a variant and a portfolio.

    Parameters
    ----------
    traded_notional, invested : float
        Sum over fills, and mean over bars of what is held; quote currency.
    """
    mean = sums.first
    variance = max(sums.second - mean * mean, 0.0) if sums.least != sums.most else 0.0
    deviation = math.sqrt(variance)
    scale = math.sqrt(bars_a_year)
    third = sums.third - 3 * mean * sums.second + 2 * mean**3
    fourth = sums.fourth - 4 * mean * sums.third + 6 * mean**2 * sums.second - 3 * mean**4
    moves = variance > 0.0
    return Metrics(
        net_pnl=final_equity - capital,
        net_return=(final_equity - capital) / capital,
        costs=costs,
        sharpe=scale * _ratio(mean, deviation * math.sqrt(bars / (bars - 1)) if bars > 1 else math.nan),
        sortino=scale * _ratio(mean, math.sqrt(sums.downside)),
        max_drawdown=sums.drawdown,
        win_rate=win_rate(trade_pnl),
        profit_factor=profit_factor(trade_pnl),
        trades=len(trade_pnl),
        fills=fills,
        turnover=traded_notional / sums.mean_equity if sums.mean_equity > 0 else math.nan,
        exposure=invested / sums.mean_equity if sums.mean_equity > 0 else math.nan,
        capacity=capacity,
        skewness=third / deviation**3 if moves else math.nan,
        kurtosis=fourth / variance**2 if moves else math.nan,
        bars=bars,
        bars_per_year=bars_a_year,
    )


def traded_notional(fills: Fills, open_: Floats) -> float:
    """Sum over fills of what was traded, quote currency."""
    return float(np.sum(np.abs(fills.units) * open_[fills.index]))


def capacity_of(fills: Fills, volume: Floats, *, capital: float) -> float:
    """Starting capital up to which 95 % of the fills stay within 2 % participation.

    Units grow in proportion to the starting capital, so participation does too.
    """
    if len(fills) == 0:
        return math.nan
    participation = np.abs(fills.units) / volume[fills.index]
    if np.isnan(participation).any():
        return math.nan
    rank = max(math.ceil(_FILLS_WITHIN * len(participation)), 1) - 1
    crowded = float(np.partition(participation, rank)[rank])
    return capital * PARTICIPATION / crowded if crowded > 0 else math.inf


def _ratio(mean: float, risk: float) -> float:
    if risk > 0.0:
        return mean / risk
    return 0.0 if mean == 0.0 else math.nan
