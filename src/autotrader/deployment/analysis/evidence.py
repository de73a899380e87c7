"""Evidence that may be looked at as often as one likes.

An e-process is a wealth that cannot be expected to grow where its hypothesis holds: the chance that it
ever reaches 1 / a is at most a (Ville 1939), whenever and however often it is looked at. Two kinds:

- *betting*: stakes on a bounded observation being above its hypothetical mean (Waudby-Smith and
  Ramdas 2024, "Estimating means of bounded random variables by betting", JRSS B 86). Nothing else is
  assumed of the observation, so it may be the mean of a block whose members depend on each other
  in any way; only the blocks' conditional means count. Part of the wealth starts anew with each
  observation, so that what was fine for an hour does not hide what broke since (Shin, Ramdas and
  Rinaldo 2024, "E-detectors", with starting weights that sum to one, which keeps Ville's bound).
- *counting*: the beta-binomial mixture for a rate (Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon
  2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49).
  It turns around into a bound on the rate that holds at all times at once.
"""

from __future__ import annotations

import math

import numpy as np

from autotrader.execution.arrays import Floats

# Of the largest bet that cannot ruin: from cautious, for slight differences, to bold, for outages.
BETS = (0.007, 0.02, 0.06, 0.17, 0.4, 0.9)
_HALVINGS = 60


def log_wealth(observed: Floats, *, mean: float, lowest: float) -> Floats:
    """Log of an e-process against "each observation's mean, given the past, is at most `mean`".

    Equal parts bet the shares `BETS` of the largest stake that survives `lowest`. The part that starts
    with the j-th observation holds 1 / (j (j + 1)) of the wealth; what has not started is kept.

    Parameters
    ----------
    observed : float64[..., n]
        Bounded from below by `lowest`; time runs along the last axis.
    mean, lowest : float
        lowest < mean.

    Returns
    -------
    float64[..., n]
        After each observation, natural log.
    """
    n = observed.shape[-1]
    nth = np.arange(1, n + 1)
    starting = -np.log(nth * (nth + 1.0))
    resting = -np.log(nth + 1.0)
    total: Floats = np.full(observed.shape, -np.inf)
    for share in BETS:
        stake = share / (mean - lowest)
        grown = np.cumsum(np.log1p(stake * (observed - mean)), axis=-1)
        before = np.concatenate([np.zeros((*observed.shape[:-1], 1)), grown[..., :-1]], axis=-1)
        running = grown + np.logaddexp.accumulate(starting - before, axis=-1)
        total = np.logaddexp(total, np.logaddexp(running, resting))
    return total - math.log(len(BETS))


def peak(log_values: Floats) -> float:
    """The most that was ever reached; 0 before the first observation."""
    return max(0.0, float(np.max(log_values, initial=0.0)))


def block_sums(values: Floats, size: int) -> Floats:
    """Sums of whole blocks along the last axis; the rest waits for its block to fill."""
    whole = values.shape[-1] // size
    shaped = values[..., : whole * size].reshape(*values.shape[:-1], whole, size)
    return np.asarray(shaped.sum(axis=-1, dtype=np.float64))


def log_mixture(events: float, trials: float, rate: float, *, typical: float) -> float:
    """Log of the beta-binomial mixture against "the rate is `rate`".

    Parameters
    ----------
    events, trials : float
    rate : float
        In (0, 1).
    typical : float
        Mean of the prior, Beta(1/2, .): where the bounds are to be tight.
    """
    a, b = 0.5, 0.5 / typical - 0.5
    mixture = _log_beta(a + events, b + trials - events) - _log_beta(a, b)
    return mixture - events * math.log(rate) - (trials - events) * math.log1p(-rate)


def upper_bound(events: float, trials: float, *, typical: float, alarm: float) -> float:
    """A rate that the true one exceeds at no time, but for a chance of `alarm`; 1 of no trials."""
    if trials <= 0 or events >= trials:
        return 1.0
    low, high = events / trials, 1.0
    wanted = -math.log(alarm)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle < 1 and log_mixture(events, trials, middle, typical=typical) < wanted:
            low = middle
        else:
            high = middle
    return high


def lower_bound(events: float, trials: float, *, typical: float, alarm: float) -> float:
    """As `upper_bound`, from below; 0 of no trials."""
    return 1 - upper_bound(trials - events, trials, typical=1 - typical, alarm=alarm)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
