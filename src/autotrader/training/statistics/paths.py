"""Measures of an equity path and of its closed trades."""

from __future__ import annotations

import math

import numpy as np

from autotrader.execution.arrays import Floats


def max_drawdown(equity: Floats, *, capital: float | None = None) -> float:
    """Largest fall from a peak, as a fraction of the peak: 0.15 is a fall by 15 %.

    Parameters
    ----------
    equity : float64[n]
        At the close of each bar.
    capital : float or None
        Equity before the first bar, a peak too; None leaves it out.
    """
    if len(equity) == 0:
        return math.nan
    path = equity if capital is None else np.concatenate(([capital], equity))
    return float(np.max(1.0 - path / np.maximum.accumulate(path)))


def win_rate(trade_pnl: Floats) -> float:
    """Share of closed trades that earned more than their costs; NaN without trades."""
    return float(np.mean(trade_pnl > 0.0)) if len(trade_pnl) else math.nan


def profit_factor(trade_pnl: Floats) -> float:
    """What winners earned over what losers lost; infinite without losers, NaN without either."""
    won = float(np.sum(trade_pnl[trade_pnl > 0.0]))
    lost = -float(np.sum(trade_pnl[trade_pnl < 0.0]))
    if lost == 0.0:
        return math.inf if won > 0.0 else math.nan
    return won / lost
