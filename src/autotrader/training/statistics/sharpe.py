"""Sharpe and Sortino ratios of returns per bar, and how uncertain they are.

Ratios are per bar unless a name says annualised; the risk-free rate is zero. Arrays are simple
returns of consecutive bars, oldest first, without NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from autotrader.domain.errors import BadData
from autotrader.execution.arrays import Floats


@dataclass(frozen=True, slots=True)
class Difference:
    """How far one thing is above another, and how sure that is.

    Attributes
    ----------
    value : float
    standard_error : float
        In the same unit; NaN where it cannot be told.
    """

    value: float
    standard_error: float


def sharpe_ratio(returns: Floats) -> float:
    """Mean over sample standard deviation (n - 1).

    Returns
    -------
    float
        0 where every return is zero (nothing risked, nothing earned); NaN where it is undefined:
        fewer than two returns, or equal ones other than zero.
    """
    if len(returns) < 2:
        return math.nan
    mean, deviation = float(np.mean(returns)), _deviation(returns)
    if deviation == 0.0:
        return 0.0 if mean == 0.0 else math.nan
    return mean / deviation


def annualised_sharpe(returns: Floats, bars_per_year: float) -> float:
    """Sharpe ratio per bar times the root of the number of bars in a year (Sharpe 1994)."""
    return sharpe_ratio(returns) * math.sqrt(bars_per_year)


def sortino_ratio(returns: Floats) -> float:
    """Mean over downside deviation, target zero (Sortino and van der Meer 1991).

    The downside deviation is the root mean square of min(r, 0) over all n bars.

    Returns
    -------
    float
        0 where every return is zero; NaN where no return is negative but some are positive.
    """
    if len(returns) == 0:
        return math.nan
    mean = float(np.mean(returns))
    downside = math.sqrt(float(np.mean(np.square(np.minimum(returns, 0.0)))))
    if downside == 0.0:
        return 0.0 if mean == 0.0 else math.nan
    return mean / downside


def sharpe_standard_error(returns: Floats, *, lags: int | None = None) -> float:
    """Standard error of the Sharpe ratio per bar; times the root of bars per year for an annual one.

    By the delta method on the ratio's influence function, whose long-run variance is estimated
    with Bartlett weights (Newey and West 1987). With no lags and normal returns this is Lo's
    sqrt((1 + SR^2 / 2) / n) (Lo 2002, "The Statistics of Sharpe Ratios"); skewness and fat tails
    enter as in Mertens (2002), and lags make it right for returns that depend on each other, as
    those of a position that is held for many bars do.

    Parameters
    ----------
    returns : float64[n]
    lags : int or None
        Autocorrelations that count; at least the holding time in bars is wise. None takes
        floor(4 (n / 100)^(2/9)) (Newey and West 1994).

    Returns
    -------
    float
        NaN for fewer than two returns or where they do not vary.
    """
    influence = _influence(returns)
    return math.nan if influence is None else _mean_standard_error(influence, lags)


def sharpe_difference(
    returns: Floats, others: Floats, *, bars_per_year: float, lags: int | None = None
) -> Difference:
    """Annualised Sharpe ratio of one path minus that of another over the same bars.

    The error is that of the paired difference (Ledoit and Wolf 2008, "Robust Performance
    Hypothesis Testing with the Sharpe Ratio"): what both paths share does not count as noise.
    A path that never moves, such as flat, is known exactly.

    Raises
    ------
    BadData
        If the paths are not of the same bars.
    """
    _require_paired(returns, others)
    scale = math.sqrt(bars_per_year)
    value = (sharpe_ratio(returns) - sharpe_ratio(others)) * scale
    influences = [i for i in (_influence(returns), _influence(others, sign=-1.0)) if i is not None]
    if not influences or not math.isfinite(value):
        return Difference(value, math.nan)
    return Difference(value, _mean_standard_error(np.sum(influences, axis=0), lags) * scale)


def total_difference(returns: Floats, others: Floats, *, lags: int | None = None) -> Difference:
    """Sum of one path's returns minus that of another over the same bars, with its standard error.

    Raises
    ------
    BadData
        If the paths are not of the same bars.
    """
    _require_paired(returns, others)
    paired = returns - others
    if len(paired) < 2:
        return Difference(float(np.sum(paired)), math.nan)
    error = _mean_standard_error(paired - np.mean(paired), lags) * len(paired)
    return Difference(float(np.sum(paired)), error)


def _deviation(returns: Floats) -> float:
    """Sample standard deviation; exactly zero for equal returns, whose mean may be rounded."""
    return 0.0 if np.ptp(returns) == 0.0 else float(np.std(returns, ddof=1))


def _influence(returns: Floats, *, sign: float = 1.0) -> Floats | None:
    """What each bar adds to the estimate of the Sharpe ratio; None where that is undefined."""
    if len(returns) < 2 or _deviation(returns) == 0.0:
        return None
    centred = returns - np.mean(returns)
    variance = float(np.mean(np.square(centred)))
    deviation = math.sqrt(variance)
    half_ratio = 0.5 * float(np.mean(returns)) / deviation
    return sign * (centred / deviation - half_ratio * (np.square(centred) / variance - 1.0))


def _mean_standard_error(centred: Floats, lags: int | None) -> float:
    """Standard error of the mean of values that are centred on zero (Newey and West 1987)."""
    n = len(centred)
    lags = math.floor(4 * (n / 100) ** (2 / 9)) if lags is None else lags
    total = _product(centred, centred)
    for lag in range(1, min(lags, n - 1) + 1):
        weight = 1 - lag / (lags + 1)
        total += 2 * weight * _product(centred[lag:], centred[:-lag])
    return math.sqrt(max(total, 0.0)) / n


def _require_paired(returns: Floats, others: Floats) -> None:
    if len(returns) != len(others):
        raise BadData(f"expected returns of the same bars, were {len(returns)} and {len(others)}")


def _product(a: Floats, b: Floats) -> float:
    """Scalar product in one thread: BLAS would split it over threads that wait on a busy machine."""
    return float(np.einsum("i,i->", a, b))
