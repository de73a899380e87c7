"""How much of a result is the luck of having tried much.

Bailey and Lopez de Prado (2014), "The Deflated Sharpe Ratio", Journal of Portfolio Management 40
(5); Bailey, Borwein, Lopez de Prado and Zhu (2017), "The Probability of Backtest Overfitting",
Journal of Computational Finance 20 (4).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from autotrader.domain.errors import BadData
from autotrader.execution.arrays import Floats
from autotrader.training.splits import cscv_blocks

_NORMAL = NormalDist()
# Few enough to stay in a processor's cache, and below the size at which BLAS starts threads.
_COMBINATIONS_AT_ONCE = 100


def expected_maximum_sharpe(n_trials: int, variance: float) -> float:
    """Best Sharpe ratio to expect of trials without any skill (SR0 of the paper).

    Parameters
    ----------
    n_trials : int
        All that were tried, failed and pruned ones too; they count as independent, which is the
        strict reading where they are not.
    variance : float
        Of the trials' Sharpe ratios, in the unit (per bar or annual) of the result's square.

    Raises
    ------
    BadData
        If there is no trial, or the variance is negative or NaN.
    """
    if n_trials < 1 or not variance >= 0:
        raise BadData(
            f"expected at least one trial and a variance of 0 or more, were {n_trials} and {variance}"
        )
    if n_trials == 1:
        return 0.0
    upper = _NORMAL.inv_cdf(1 - 1 / n_trials)
    further = _NORMAL.inv_cdf(1 - 1 / (n_trials * math.e))
    return math.sqrt(variance) * ((1 - np.euler_gamma) * upper + np.euler_gamma * further)


def probabilistic_sharpe(sharpe: float, *, benchmark: float, standard_error: float) -> float:
    """Probability that the true ratio is above the benchmark; NaN where the error is not known.

    All three in one unit. Bailey and Lopez de Prado (2012), "The Sharpe Ratio Efficient Frontier".
    """
    if not (math.isfinite(sharpe) and math.isfinite(benchmark) and standard_error > 0):
        return math.nan
    return _NORMAL.cdf((sharpe - benchmark) / standard_error)


def deflated_sharpe_probability(
    sharpe: float,
    *,
    n_trials: int,
    trial_variance: float,
    n_observations: int,
    skewness: float = 0.0,
    kurtosis: float = 3.0,
    standard_error: float | None = None,
) -> float:
    """Probability that the true Sharpe ratio is above the best that luck would show.

    Parameters
    ----------
    sharpe : float
        Per bar, of the selected trial, out of sample.
    n_trials, trial_variance
        As `expected_maximum_sharpe`, variance of ratios per bar.
    n_observations : int
        Returns behind `sharpe`.
    skewness, kurtosis : float
        Of those returns; 3 is the kurtosis of a normal distribution.
    standard_error : float or None
        Of `sharpe`. None takes the paper's, which supposes independent returns; pass
        `sharpe_standard_error` for returns that are not.

    Raises
    ------
    BadData
        As `expected_maximum_sharpe`.
    """
    benchmark = expected_maximum_sharpe(n_trials, trial_variance)
    if standard_error is None:
        spread = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2
        if n_observations < 2 or not spread > 0:
            return math.nan
        standard_error = math.sqrt(spread / (n_observations - 1))
    return probabilistic_sharpe(sharpe, benchmark=benchmark, standard_error=standard_error)


@dataclass(frozen=True, slots=True)
class Overfitting:
    """What combinatorially symmetric cross-validation found.

    Attributes
    ----------
    probability : float
        Share of the combinations in which the in-sample best is in the lower half out of sample.
    logits : float64[combinations]
        Log odds of its relative rank out of sample; zero is the median.
    loss_probability : float
        Share of the combinations in which the in-sample best lost money out of sample.
    n_trials, n_blocks : int
    """

    probability: float
    logits: Floats
    loss_probability: float
    n_trials: int
    n_blocks: int


def probability_of_backtest_overfitting(returns_matrix: Floats, n_blocks: int = 16) -> float:
    """`cross_validate_symmetrically(...).probability`."""
    return cross_validate_symmetrically(returns_matrix, n_blocks).probability


def cross_validate_symmetrically(returns_matrix: Floats, n_blocks: int = 16) -> Overfitting:
    """Pick the best trial on each half of the blocks, and rank it on the other half.

    Sharpe ratios come from block sums of returns and of their squares, so each of the
    C(n_blocks, n_blocks / 2) combinations costs additions only.

    Parameters
    ----------
    returns_matrix : float64[T, n_trials]
        Returns of every trial over the same periods; buckets of an hour or a day serve better than
        bars. Periods that do not fill the last block are left out, the oldest ones.
    n_blocks : int
        Even; 16 in the paper.

    Raises
    ------
    BadData
        If there are fewer than two trials, values that are not finite, or too few periods.
    """
    if returns_matrix.ndim != 2 or returns_matrix.shape[1] < 2:
        raise BadData(f"expected returns of at least 2 trials, was shape {returns_matrix.shape}")
    if not np.isfinite(returns_matrix).all():
        raise BadData("expected finite returns, were NaN or infinite: leave failed trials out")
    n_trials = returns_matrix.shape[1]
    blocks = cscv_blocks(len(returns_matrix), n_blocks)
    sums = np.stack([returns_matrix[block].sum(axis=0) for block in blocks])
    squares = np.stack([np.square(returns_matrix[block]).sum(axis=0) for block in blocks])
    periods_in_half = (blocks[0].stop - blocks[0].start) * n_blocks // 2

    halves = np.array(list(itertools.combinations(range(n_blocks), n_blocks // 2)))
    logits, losses = np.empty(len(halves)), 0
    for start in range(0, len(halves), _COMBINATIONS_AT_ONCE):
        chunk = halves[start : start + _COMBINATIONS_AT_ONCE]
        chosen = np.zeros((len(chunk), n_blocks))
        np.put_along_axis(chosen, chunk, 1.0, axis=1)
        inside = _sharpe_of_sums(chosen @ sums, chosen @ squares, periods_in_half)
        outside = _sharpe_of_sums((1 - chosen) @ sums, (1 - chosen) @ squares, periods_in_half)
        best = np.argmax(inside, axis=1)
        picked = np.take_along_axis(outside, best[:, None], axis=1)
        below = np.sum(outside < picked, axis=1)
        equal = np.sum(outside == picked, axis=1)
        rank = below + (equal + 1) / 2
        logits[start : start + len(chunk)] = np.log(rank / (n_trials + 1 - rank))
        losses += int(np.sum(picked < 0.0))
    return Overfitting(
        probability=float(np.mean(logits <= 0.0)),
        logits=logits,
        loss_probability=losses / len(halves),
        n_trials=n_trials,
        n_blocks=n_blocks,
    )


def _sharpe_of_sums(sums: Floats, squares: Floats, n: int) -> Floats:
    """Sharpe ratios from sums over n periods; 0 where returns do not vary."""
    mean = sums / n
    variance = (squares - sums * mean) / (n - 1)
    varies = variance > 1e-14 * squares / n
    return np.where(varies, mean / np.sqrt(np.where(varies, variance, 1.0)), 0.0)
