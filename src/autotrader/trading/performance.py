"""How the account has done: figures of its equity points and closed trades.

Money is exact, ratios are floats. A figure that too little data stands behind is None, never zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np

from autotrader.domain.errors import BadData
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.orders import ZERO
from autotrader.domain.positions import ClosedTrade
from autotrader.domain.thresholds import TRADING_FIGURES
from autotrader.execution.arrays import Floats
from autotrader.ports.trading import EquityPoint

_YEAR = timedelta(days=365)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Performance:
    """Figures of a stretch of time.

    Attributes
    ----------
    sharpe : float or None
        Mean over sample standard deviation of the simple returns per `step`, times the root of the
        steps in 365 days; risk-free rate zero (Sharpe 1994). None with fewer than
        `sharpe_returns` returns, without spread, or where equity was not above zero.
    returns : int
        How many are behind it.
    step : timedelta
        Between the points that returns are taken of.
    max_drawdown : float or None
        Largest fall of equity from a peak, as a fraction of the peak, of all points. None with
        fewer than two.
    trades, winners : int
        Closed trades, and those that earned more than their fees.
    win_rate : float or None
    gross_profit, gross_loss : Decimal
        What winners earned and what losers lost, both above zero, after fees, base currency.
    profit_factor : float or None
        `gross_profit` over `gross_loss`; None without losers.
    value_at_risk : float or None
        Historical, 95 %: the fraction of equity whose loss over `horizon` was exceeded in 5 % of the
        overlapping stretches of that length; below zero where even those gained. None with fewer
        than `value_at_risk_horizons` stretches that do not overlap.
    horizon : timedelta
    turnover : float or None
        Notional of closed trades, both sides, over mean equity.
    """

    sharpe: float | None
    returns: int
    step: timedelta
    max_drawdown: float | None
    trades: int
    winners: int
    win_rate: float | None
    gross_profit: Decimal
    gross_loss: Decimal
    profit_factor: float | None
    value_at_risk: float | None
    horizon: timedelta
    turnover: float | None


def measure(
    points: Sequence[EquityPoint],
    trades: Sequence[ClosedTrade],
    *,
    rates: Mapping[InstrumentId, Decimal],
    step: timedelta = timedelta(minutes=1),
    horizon: timedelta = timedelta(days=1),
) -> Performance:
    """Figures of one account, from points and trades in any order.

    Parameters
    ----------
    points : sequence of EquityPoint
        Between two of them equity is taken to stand still: a closed market has returns of zero, and
        a year has all its steps.
    rates : Mapping
        Base currency per unit of each traded instrument's quote currency.
    step : timedelta
        Of the grid on which returns are taken.
    horizon : timedelta
        Of the value at risk; a multiple of the step.

    Raises
    ------
    BadData
        If a rate is missing, or the horizon is no multiple of the step.
    """
    if step <= timedelta(0) or horizon < step or horizon % step:
        raise BadData(f"expected a horizon of whole steps, was {horizon} of {step}")
    ordered = sorted(points, key=lambda point: point.at)
    equity = np.array([float(point.equity) for point in ordered])
    sampled = _sampled([point.at for point in ordered], equity, step)
    returns = _returns(sampled, 1)
    pnl = [_in_base(trade, trade.pnl, rates) for trade in trades]
    gross_profit = sum((amount for amount in pnl if amount > 0), ZERO)
    gross_loss = -sum((amount for amount in pnl if amount < 0), ZERO)
    winners = sum(amount > 0 for amount in pnl)
    traded = sum((_in_base(t, t.quantity * (t.entry + t.exit), rates) for t in trades), ZERO)
    mean_equity = float(np.mean(equity)) if len(equity) else 0.0
    return Performance(
        sharpe=_sharpe(returns, _YEAR / step),
        returns=len(returns),
        step=step,
        max_drawdown=_max_drawdown(equity),
        trades=len(pnl),
        winners=winners,
        win_rate=winners / len(pnl) if pnl else None,
        gross_profit=gross_profit,
        gross_loss=gross_loss,
        profit_factor=float(gross_profit / gross_loss) if gross_loss else None,
        value_at_risk=_value_at_risk(sampled, horizon // step),
        horizon=horizon,
        turnover=float(traded) / mean_equity if mean_equity > 0 else None,
    )


def _in_base(trade: ClosedTrade, amount: Decimal, rates: Mapping[InstrumentId, Decimal]) -> Decimal:
    rate = rates.get(trade.instrument)
    if rate is None:
        raise BadData(f"expected a rate for the currency of {trade.instrument}, was none")
    return amount * rate


def _sampled(times: Sequence[datetime], equity: Floats, step: timedelta) -> Floats:
    """The newest equity at every multiple of the step (since 1970) from the first point to the last."""
    if not times:
        return equity
    at = np.array([(time - _EPOCH) // timedelta(microseconds=1) for time in times])
    length = step // timedelta(microseconds=1)
    grid = np.arange(-(-at[0] // length) * length, at[-1] + 1, length)
    return equity[np.searchsorted(at, grid, side="right") - 1]


def _returns(sampled: Floats, steps: int) -> Floats:
    """Simple returns over so many steps, overlapping; none where equity was not above zero."""
    if len(sampled) <= steps or not np.all(sampled > 0):
        return np.empty(0)
    return sampled[steps:] / sampled[:-steps] - 1.0


def _sharpe(returns: Floats, steps_a_year: float) -> float | None:
    if len(returns) < TRADING_FIGURES.sharpe_returns:
        return None
    deviation = float(np.std(returns, ddof=1))
    # Equal returns leave a spread of rounding errors, which is none.
    if deviation <= 1e-12 * max(1.0, float(np.max(np.abs(returns)))):
        return None
    return float(np.mean(returns)) / deviation * math.sqrt(steps_a_year)


def _max_drawdown(equity: Floats) -> float | None:
    if len(equity) < 2:
        return None
    peaks = np.maximum.accumulate(equity)
    return float(np.max(1.0 - equity / peaks)) if peaks[0] > 0 else None


def _value_at_risk(sampled: Floats, steps: int) -> float | None:
    if (len(sampled) - 1) // steps < TRADING_FIGURES.value_at_risk_horizons:
        return None
    returns = _returns(sampled, steps)
    if not len(returns):
        return None
    tail = np.quantile(returns, TRADING_FIGURES.value_at_risk_share, method="inverted_cdf")
    return -float(tail)
