"""Backtest of one instrument."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autotrader.domain.errors import BadData
from autotrader.execution.arrays import Floats, Times
from autotrader.execution.clock import bars_per_year
from autotrader.execution.costs import Costs
from autotrader.execution.fills import account
from autotrader.execution.net_returns import path_returns
from autotrader.execution.round_trips import closed_trades
from autotrader.training.backtest.metrics import (
    Metrics,
    PathSums,
    active_rows,
    capacity_of,
    mean_invested,
    summarise,
    traded_notional,
    walk_path,
)


@dataclass(frozen=True, eq=False)
class BacktestResult:
    """An equity path after costs, and what it amounts to.

    Attributes
    ----------
    ts : datetime64[n]
        Bar opens; values are those at the bars' closes.
    equity : float64[n]
        Quote currency.
    trade_pnl : float64[k]
        Net PnL of closed trades, in order of their end within each instrument.
    traded_notional : float
        Sum over fills, quote currency.
    capital : float
        Equity before the first bar.
    metrics : Metrics
    """

    ts: Times
    equity: Floats
    trade_pnl: Floats
    traded_notional: float
    capital: float
    metrics: Metrics

    @cached_property
    def net_returns(self) -> Floats:
        """float64[n]: simple return of each bar, costs paid; the first is relative to `capital`."""
        return path_returns(self.equity, self.capital)


def backtest(
    ts: Times,
    open: Floats,
    close: Floats,
    volume: Floats,
    position: Floats,
    *,
    costs: Costs,
    capital: float,
    bars_a_year: float | None = None,
) -> BacktestResult:
    """Trade the targets, each at the open of the bar after the one at whose close it was decided.

    Parameters
    ----------
    ts, open, close, volume, position, costs, capital
        As `autotrader.execution.fills.account`: n bars of one instrument, targets in [-1, 1].
    bars_a_year : float or None
        The bar clock that ratios are annualised with; observed in `ts` when None (see
        `autotrader.execution.clock.bars_per_year` for markets with sessions).

    Raises
    ------
    BadData
        If there are fewer than two bars, shapes differ, or values are out of range.
    """
    if len(ts) < 2:
        raise BadData(f"expected at least 2 bars, was {len(ts)}")
    ledger = account(ts, open, close, volume, position, costs=costs, capital=capital)
    fills = ledger.fills
    begins, ends = active_rows(fills, len(ts))
    trade_pnl = closed_trades(fills)
    notional = traded_notional(fills, open)
    metrics = summarise(
        PathSums(*walk_path(ledger.equity, capital, begins, ends)),
        capital=capital,
        final_equity=float(ledger.equity[-1]),
        costs=ledger.trading_cost + ledger.borrow_cost,
        trade_pnl=trade_pnl,
        fills=len(fills),
        traded_notional=notional,
        invested=mean_invested(close, ends, fills.index, fills.held),
        capacity=capacity_of(fills, volume, capital=capital),
        bars=len(ts),
        bars_a_year=bars_a_year or bars_per_year(ts),
    )
    return BacktestResult(ts, ledger.equity, trade_pnl, notional, capital, metrics)


def buy_and_hold(
    ts: Times,
    open: Floats,
    close: Floats,
    volume: Floats,
    *,
    costs: Costs,
    capital: float,
    bars_a_year: float | None = None,
) -> BacktestResult:
    """The baseline that buys at the second bar's open and never sells."""
    always = np.ones(len(ts))
    return backtest(ts, open, close, volume, always, costs=costs, capital=capital, bars_a_year=bars_a_year)


def stay_flat(
    ts: Times,
    open: Floats,
    close: Floats,
    volume: Floats,
    *,
    costs: Costs,
    capital: float,
    bars_a_year: float | None = None,
) -> BacktestResult:
    """The baseline that never trades: it earns exactly nothing."""
    never = np.zeros(len(ts))
    return backtest(ts, open, close, volume, never, costs=costs, capital=capital, bars_a_year=bars_a_year)
