"""Whether the candidate is alive and ready, and keeps its memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from autotrader.deployment.analysis.results import CheckResult
from autotrader.domain.rollout import Outcome
from autotrader.domain.thresholds import CanaryThresholds
from autotrader.execution.arrays import Floats
from autotrader.ports.deployment import SlotHealth

_MIB = 2**20
# Slopes are taken between any two of so many observations at most: their number grows with the square.
_SLOPE_OBSERVATIONS = 300


@dataclass(frozen=True, slots=True)
class HealthObservation:
    """What the candidate said of itself, and when (wall time)."""

    at: datetime
    health: SlotHealth


def judge_health(observations: Sequence[HealthObservation], thresholds: CanaryThresholds) -> CheckResult:
    """Fails once it was not ready so often in a row; passes when it is ready now.

    Parameters
    ----------
    observations : sequence of HealthObservation
        Of this stage, oldest first.
    """
    longest = run = 0
    for observation in observations:
        run = 0 if observation.health.live and observation.health.ready else run + 1
        longest = max(longest, run)
    evidence = {"observations": len(observations), "longest_failing_run": longest, "failing_now": run}

    def result(outcome: Outcome, reason: str) -> CheckResult:
        return CheckResult("health", outcome, True, reason, evidence)

    if not observations:
        return result(Outcome.INCONCLUSIVE, "nobody asked the candidate for its health")
    last = observations[-1].health
    state = last.reason or ("not ready" if last.live else "not live")
    if longest >= thresholds.health_failures:
        said = state if run else "ready again"
        return result(Outcome.FAIL, f"not live and ready {longest} times in a row (now: {said})")
    if run:
        return result(Outcome.INCONCLUSIVE, f"not live and ready the last {run} times asked: {state}")
    return result(Outcome.PASS, f"live and ready, asked {len(observations):,} times")


def judge_memory(observations: Sequence[HealthObservation], thresholds: CanaryThresholds) -> CheckResult:
    """Fails on memory that grows through the whole watch by more than `leak_bytes`.

    The growth is Theil and Sen's median of the slopes between any two observations (Sen 1968, JASA 63),
    over the time watched. A step, as when a pool is filled, is no leak: each third of the watch has
    to lie above the last by a quarter of the bound. Of a long watch, medians of consecutive observations
    stand for them, so that none is left out.
    """
    known = [(o.at, o.health.memory_bytes) for o in observations if o.health.memory_bytes is not None]
    if len(known) < thresholds.leak_observations:
        reason = f"{len(known)} of {thresholds.leak_observations} reports of its memory"
        return CheckResult("memory", Outcome.INCONCLUSIVE, True, reason, {"observations": len(known)})
    seconds = np.array([(at - known[0][0]).total_seconds() for at, _ in known])
    memory = np.array([float(value) for _, value in known])
    watched = float(np.ptp(seconds))
    growth = theil_sen_slope(_thinned(seconds), _thinned(memory)) * watched
    first, middle, last = (float(np.median(third)) for third in np.array_split(memory, 3))
    steady = min(middle - first, last - middle) >= thresholds.leak_bytes / 4
    evidence = {
        "observations": len(known),
        "first_bytes": float(memory[0]),
        "last_bytes": float(memory[-1]),
        "growth_bytes": growth,
        "bound_bytes": thresholds.leak_bytes,
        "seconds": watched,
    }
    seen = f"memory went from {memory[0] / _MIB:.0f} to {memory[-1] / _MIB:.0f} MiB in {watched:,.0f} s"
    if growth >= thresholds.leak_bytes and steady:
        return CheckResult("memory", Outcome.FAIL, True, f"{seen} and grew throughout: a leak", evidence)
    return CheckResult("memory", Outcome.PASS, True, f"{seen}: no leak", evidence)


def _thinned(values: Floats) -> Floats:
    """Medians of so many consecutive parts as are compared with each other, or the values themselves."""
    if len(values) <= _SLOPE_OBSERVATIONS:
        return values
    return np.array([np.median(part) for part in np.array_split(values, _SLOPE_OBSERVATIONS)])


def theil_sen_slope(x: Floats, y: Floats) -> float:
    """Median of (y_j - y_i) / (x_j - x_i) over pairs of different x; 0 without one."""
    early, late = np.triu_indices(len(x), k=1)
    apart = x[late] - x[early]
    usable = apart > 0
    if not usable.any():
        return 0.0
    return float(np.median((y[late] - y[early])[usable] / apart[usable]))
