"""Several instruments in one account, each with the same share of the capital."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

import numpy as np

from autotrader.domain.errors import BadData
from autotrader.execution.arrays import Floats, Times
from autotrader.execution.clock import bars_per_year
from autotrader.training.backtest.metrics import PathSums, summarise, walk_path
from autotrader.training.backtest.single import BacktestResult


def combine(results: Sequence[BacktestResult], *, bars_a_year: float | None = None) -> BacktestResult:
    """Add up backtests of instruments on the union of their bar clocks.

    Each result is one sleeve of the portfolio; money does not move between sleeves. A sleeve is
    worth its capital until its first bar, and keeps its last mark through bars that it misses and
    after its last.

    Parameters
    ----------
    results : sequence of BacktestResult
        At least one, all of the same capital, in one currency.
    bars_a_year : float or None
        Of the common clock; observed in it when None.

    Returns
    -------
    BacktestResult
        Its exposure counts each sleeve over the sleeve's own bars; its capacity is that of the
        sleeve with the least, times the number of sleeves.

    Raises
    ------
    BadData
        If there is no result, or sleeves differ in capital.
    """
    capitals = {result.capital for result in results}
    if len(capitals) != 1:
        raise BadData(f"expected sleeves of one equal capital, were {sorted(capitals) or 'none'}")
    ts = _common_clock([result.ts for result in results])
    equity = np.zeros(len(ts))
    for result in results:
        equity += _on_clock(ts, result)
    capital = sum(result.capital for result in results)
    trade_pnl = np.concatenate([result.trade_pnl for result in results])
    notional = sum(result.traded_notional for result in results)
    capacities = [r.metrics.capacity for r in results if r.metrics.fills]
    metrics = summarise(
        PathSums(*walk_path(equity, capital, np.array([0]), np.array([len(ts)]))),
        capital=capital,
        final_equity=float(equity[-1]),
        costs=sum(result.metrics.costs for result in results),
        trade_pnl=trade_pnl,
        fills=sum(result.metrics.fills for result in results),
        traded_notional=notional,
        invested=sum(r.metrics.exposure * float(np.mean(r.equity)) for r in results),
        capacity=float(np.min(capacities)) * len(results) if capacities else math.nan,
        bars=len(ts),
        bars_a_year=bars_a_year or bars_per_year(ts),
    )
    return BacktestResult(ts, equity, trade_pnl, notional, capital, metrics)


def _common_clock(clocks: Sequence[Times]) -> Times:
    first = clocks[0]
    if all(len(clock) == len(first) and np.array_equal(clock, first) for clock in clocks[1:]):
        return first
    return reduce(np.union1d, clocks)


def _on_clock(ts: Times, result: BacktestResult) -> Floats:
    """Equity on the common clock, carried forward; the capital ahead of the first bar."""
    if len(ts) == len(result.ts):
        return result.equity
    row = np.searchsorted(result.ts, ts, side="right") - 1
    return np.where(row >= 0, result.equity[row], result.capital)
