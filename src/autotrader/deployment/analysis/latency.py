"""Which answers are slow, measured against the stable colour's own p99."""

from __future__ import annotations

import numpy as np

from autotrader.domain.thresholds import CanaryThresholds
from autotrader.execution.arrays import Booleans, Floats


def slow_limits(stable_seconds: Floats, thresholds: CanaryThresholds) -> Floats:
    """What counts as slow in the stable colour: its p99 so far.

    The p99 is taken of what came before, first of `latency_warm_pairs` requests and again whenever
    their number has doubled; within the floor, and what the contract allows less the tolerance.

    Parameters
    ----------
    stable_seconds : float64[..., n]
        Time runs along the last axis.

    Returns
    -------
    float64[..., n]
        Infinite for the first ones: nothing is slow before there is a p99.
    """
    limits: Floats = np.full(stable_seconds.shape, np.inf)
    known = thresholds.latency_warm_pairs
    while known < stable_seconds.shape[-1]:
        before = stable_seconds[..., :known]
        usual = np.quantile(before, 1 - thresholds.slow_share, axis=-1, keepdims=True)
        limits[..., known : 2 * known] = np.clip(
            usual,
            thresholds.latency_floor_seconds,
            thresholds.latency_seconds / thresholds.latency_tolerance,
        )
        known *= 2
    return limits


def slow_in_each(
    candidate_seconds: Floats, stable_seconds: Floats, thresholds: CanaryThresholds
) -> tuple[Booleans, Booleans]:
    """Slow answers of candidate and stable; the candidate is granted `latency_tolerance`.

    Both have the same share of slow answers where the candidate's p99 is the stable colour's times the
    tolerance: that is the hypothesis that a comparison of the two tests.
    """
    limits = slow_limits(stable_seconds, thresholds)
    return candidate_seconds > thresholds.latency_tolerance * limits, stable_seconds > limits
