"""Many ways to trade one score, at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from autotrader.domain.errors import BadData
from autotrader.execution.arrays import Floats, Times
from autotrader.execution.clock import bar_length, bars_per_year, microseconds
from autotrader.execution.costs import Costs
from autotrader.execution.fills import Fills, are_bars, keep_books, rates
from autotrader.execution.net_returns import path_returns
from autotrader.execution.round_trips import closed_trades
from autotrader.execution.sizing import Sizing, find_target_changes, known_volatility
from autotrader.training.backtest.buckets import buckets
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


@dataclass(frozen=True, slots=True, eq=False)
class VariantResults:
    """What each variant amounts to.

    Attributes
    ----------
    variants : tuple of Sizing
    metrics : tuple of Metrics
        One a variant, equal to those of `backtest(target_positions(...))`.
    bucket_start : datetime64[us][b]
        Start of each bucket of time that has bars.
    bucket_returns : float64[b, n_variants]
        Simple net return of each variant over each bucket: what the overfitting statistics take.
    """

    variants: tuple[Sizing, ...]
    metrics: tuple[Metrics, ...]
    bucket_start: Times
    bucket_returns: Floats


def backtest_variants(
    ts: Times,
    open: Floats,
    close: Floats,
    volume: Floats,
    score: Floats,
    *,
    variants: Sequence[Sizing],
    costs: Costs,
    capital: float,
    volatility: Floats | None = None,
    bucket: timedelta = timedelta(hours=1),
    bars_a_year: float | None = None,
    threads: int | None = None,
) -> VariantResults:
    """Turn the score into positions in every way given, and backtest each.

    Parameters
    ----------
    ts, open, close, volume, costs, capital, bars_a_year
        As `backtest`.
    score, volatility
        As `autotrader.execution.sizing.target_positions`.
    variants : sequence of Sizing
    bucket : timedelta
        Length of the periods of `bucket_returns`, aligned to the epoch.
    threads : int or None
        One a processor when None. The result does not depend on it.

    Raises
    ------
    BadData
        As `backtest` and `target_positions`.
    """
    interval, a_year = bar_length(ts), bars_a_year or bars_per_year(ts)
    opens_us = microseconds(ts)
    known = known_volatility(score, volatility, needed=any(v.needs_volatility for v in variants))
    if len(score) != len(ts):
        raise BadData(f"expected a score for each of {len(ts)} bars, were {len(score)}")
    if not are_bars(opens_us, open, close):
        raise BadData("expected increasing ts and finite prices above zero, were not in every bar")
    starts, lasts = buckets(ts, bucket)
    metrics: list[Metrics | None] = [None] * len(variants)
    bucket_returns = np.empty((len(lasts), len(variants)))

    def trade(numbers: range) -> None:
        n = len(ts)
        rows, targets, room = np.empty(n, np.int64), np.empty(n), Fills.room_for(n)
        equity = np.empty(n)
        for number in numbers:
            sizing = variants[number].rates(interval=interval, bars_a_year=a_year)
            changes = find_target_changes(opens_us, score, known, *sizing, rows, targets)
            count, trading, borrowing = keep_books(
                opens_us,
                open,
                close,
                volume,
                rows[:changes],
                targets[:changes],
                *rates(costs),
                capital,
                equity,
                room.index,
                room.units,
                room.held,
                room.equity,
                room.cost,
            )
            fills = room.first(count)
            begins, ends = active_rows(fills, n)
            metrics[number] = summarise(
                PathSums(*walk_path(equity, capital, begins, ends)),
                capital=capital,
                final_equity=float(equity[-1]),
                costs=trading + borrowing,
                trade_pnl=closed_trades(fills),
                fills=count,
                traded_notional=traded_notional(fills, open),
                invested=mean_invested(close, ends, fills.index, fills.held),
                capacity=capacity_of(fills, volume, capital=capital),
                bars=n,
                bars_a_year=a_year,
            )
            bucket_returns[:, number] = path_returns(equity[lasts], capital)

    workers = min(threads or os.cpu_count() or 1, len(variants))
    if workers > 1:
        with ThreadPoolExecutor(workers) as pool:
            for done in [pool.submit(trade, range(w, len(variants), workers)) for w in range(workers)]:
                done.result()
    else:
        trade(range(len(variants)))
    return VariantResults(tuple(variants), tuple(m for m in metrics if m is not None), starts, bucket_returns)
