"""Trading results of candidate and stable on the same bars: guards, which never hold a rollout up.

A rollout lasts hours, and what a Sharpe ratio needs is years: the guards catch a candidate that
loses money fast, and say how far they are from seeing more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from autotrader.deployment.analysis.evidence import block_sums, log_wealth, lower_bound, peak, upper_bound
from autotrader.deployment.analysis.results import CheckResult, odds, percent
from autotrader.domain.errors import BadData
from autotrader.domain.rollout import Outcome
from autotrader.domain.thresholds import GATES, CanaryThresholds
from autotrader.execution.arrays import Floats

_DAY_SECONDS = 86_400
# In their standard deviations; what lies beyond counts as this much, so that a crash decides nothing.
_CLIP = 4.0
# Variance of the difference of two standardised returns that do not move together: 1 + 0.8^2.
_ASSUMED_VARIANCE = 1.64
_ENOUGH_BLOCKS = 10


@dataclass(frozen=True, slots=True)
class GuardEvidence:
    """What both colours' predictions would have earned through one sizing, cost and fill model.

    Attributes
    ----------
    stable_returns, candidate_returns : float64[n]
        Net return of each period, of the whole book, oldest first, since the rollout began. Periods
        in which either is not finite are left out.
    stable_wins, stable_trades, candidate_wins, candidate_trades : int
        Closed trades on the same bars; a win earned more than it cost.
    period_seconds : float
    periods_per_year : float
        On which the market is open.
    """

    stable_returns: Floats
    candidate_returns: Floats
    stable_wins: int
    stable_trades: int
    candidate_wins: int
    candidate_trades: int
    period_seconds: float = 60.0
    periods_per_year: float = 525_600.0


def judge_guards(
    guards: GuardEvidence | None, thresholds: CanaryThresholds
) -> tuple[CheckResult, CheckResult]:
    """Sharpe ratio and win rate; inconclusive on little data.

    Raises
    ------
    BadData
        If the returns are not of the same periods.
    """
    if guards is None:
        reason = "no results of both colours on the same bars"
        return (
            CheckResult("sharpe", Outcome.INCONCLUSIVE, False, f"not judged: {reason}"),
            CheckResult("win_rate", Outcome.INCONCLUSIVE, False, f"not judged: {reason}"),
        )
    if len(guards.stable_returns) != len(guards.candidate_returns):
        raise BadData(
            f"expected returns of the same periods, were {len(guards.stable_returns)} and "
            f"{len(guards.candidate_returns)}: pair them by bar"
        )
    return _judge_sharpe(guards, thresholds), _judge_win_rate(guards, thresholds)


def sharpe_wealth(stable_blocks: Floats, candidate_blocks: Floats, thresholds: CanaryThresholds) -> Floats:
    """Log e-process against "the candidate's Sharpe ratio is at most `sharpe_drop` below stable's".

    Returns are in units of each colour's scale in the blocks before, clipped. What 20 % down means
    depends on the sign of the stable Sharpe ratio, which nobody knows: the e-processes for either
    are both demanded (the smaller one is valid for both).

    Parameters
    ----------
    stable_blocks, candidate_blocks : float64[..., k]
        Sums of returns, so long that they hardly depend on each other.

    Returns
    -------
    float64[..., k - guard_scale_blocks]
    """
    stable, candidate = _standardised(stable_blocks, thresholds), _standardised(candidate_blocks, thresholds)
    either = []
    for kept in (1 - thresholds.sharpe_drop, 1 + thresholds.sharpe_drop):
        worse = np.clip(kept * stable - candidate, -_CLIP, _CLIP)
        either.append(log_wealth(worse, mean=0.0, lowest=-_CLIP))
    return np.minimum(*either)


def _standardised(blocks: Floats, thresholds: CanaryThresholds) -> Floats:
    """Blocks after the first few, over the root mean square of all before; 0 where that is 0."""
    first = thresholds.guard_scale_blocks
    squares = np.cumsum(np.square(blocks), axis=-1)[..., first - 1 : -1]
    counts = np.arange(first, first + squares.shape[-1])
    scale = np.sqrt(squares / counts)
    later = blocks[..., first:]
    return np.divide(later, scale, out=np.zeros_like(later), where=scale > 0)


def _judge_sharpe(guards: GuardEvidence, thresholds: CanaryThresholds) -> CheckResult:
    known = np.isfinite(guards.stable_returns) & np.isfinite(guards.candidate_returns)
    stable, candidate = guards.stable_returns[known], guards.candidate_returns[known]
    size = thresholds.guard_block_periods
    stable_blocks, candidate_blocks = block_sums(stable, size), block_sums(candidate, size)
    enough = len(stable_blocks) > thresholds.guard_scale_blocks
    wealth = sharpe_wealth(stable_blocks, candidate_blocks, thresholds) if enough else np.zeros(0)
    against = peak(wealth)
    needed_blocks = _blocks_to_see_drop(stable_blocks, candidate_blocks, guards, thresholds)
    block_days = size * guards.period_seconds / _DAY_SECONDS
    days, needed = len(stable) * guards.period_seconds / _DAY_SECONDS, needed_blocks * block_days
    evidence = {
        "periods": len(stable),
        "days": days,
        "days_needed": needed,
        "share_of_needed": days / needed,
        "stable_return": float(np.sum(stable)),
        "candidate_return": float(np.sum(candidate)),
        "stable_sharpe": _annual_sharpe(stable, guards),
        "candidate_sharpe": _annual_sharpe(candidate, guards),
        "log_evidence_worse": against,
        "log_evidence_needed": -math.log(thresholds.sharpe_alarm),
    }

    def result(outcome: Outcome, reason: str) -> CheckResult:
        return CheckResult("sharpe", outcome, False, reason, evidence)

    earned = f"candidate {np.sum(candidate):+.2%}, stable {np.sum(stable):+.2%} in {days:,.1f} days"
    if against >= -math.log(thresholds.sharpe_alarm):
        drop = percent(thresholds.sharpe_drop)
        return result(
            Outcome.FAIL, f"{earned}: Sharpe more than {drop} below stable's, evidence {odds(against)}"
        )
    have = (
        f"{percent(days / needed)} of the {needed:,.0f} days that a drop of "
        f"{percent(thresholds.sharpe_drop)} from a Sharpe of {GATES.sharpe:g} needs to be seen"
    )
    if days >= needed:
        return result(Outcome.PASS, f"{earned}: no sign of a drop in Sharpe")
    return result(Outcome.INCONCLUSIVE, f"{earned}: {have}")


def _blocks_to_see_drop(
    stable_blocks: Floats, candidate_blocks: Floats, guards: GuardEvidence, thresholds: CanaryThresholds
) -> float:
    """2 log(1 / a) var / drop^2: wealth grows by half a squared signal-to-noise ratio a block."""
    variance = _ASSUMED_VARIANCE
    if len(stable_blocks) >= _ENOUGH_BLOCKS:
        stable_scale, candidate_scale = float(np.std(stable_blocks)), float(np.std(candidate_blocks))
        if min(stable_scale, candidate_scale) > 0:
            kept = (1 - thresholds.sharpe_drop) * stable_blocks / stable_scale
            variance = float(np.var(kept - candidate_blocks / candidate_scale))
    a_block = GATES.sharpe * math.sqrt(thresholds.guard_block_periods / guards.periods_per_year)
    drop = thresholds.sharpe_drop * a_block
    return max(1.0, 2 * -math.log(thresholds.sharpe_alarm) * variance / drop**2)


def _annual_sharpe(returns: Floats, guards: GuardEvidence) -> float | None:
    """None where there is no spread to divide by."""
    spread = float(np.std(returns, ddof=1)) if len(returns) > 1 else 0.0
    return float(np.mean(returns)) / spread * math.sqrt(guards.periods_per_year) if spread > 0 else None


def _judge_win_rate(guards: GuardEvidence, thresholds: CanaryThresholds) -> CheckResult:
    """Fails where even the least that stable wins is that far above the most that the candidate does."""
    alarm, weight = thresholds.win_rate_alarm / 2, thresholds.trades_per_independent
    least = lower_bound(guards.stable_wins / weight, guards.stable_trades / weight, typical=0.5, alarm=alarm)
    most = upper_bound(
        guards.candidate_wins / weight, guards.candidate_trades / weight, typical=0.5, alarm=alarm
    )
    # Each bound is as wide as its share of the drop when the variance of a coin meets 2 log(1 / a).
    needed = math.ceil(8 * -math.log(alarm) * 0.25 / thresholds.win_rate_drop**2 * weight)
    fewest = min(guards.stable_trades, guards.candidate_trades)
    evidence = {
        "stable_wins": guards.stable_wins,
        "stable_trades": guards.stable_trades,
        "candidate_wins": guards.candidate_wins,
        "candidate_trades": guards.candidate_trades,
        "stable_at_least": least,
        "candidate_at_most": most,
        "trades_needed": needed,
        "share_of_needed": fewest / needed,
    }

    def result(outcome: Outcome, reason: str) -> CheckResult:
        return CheckResult("win_rate", outcome, False, reason, evidence)

    seen = (
        f"candidate won {guards.candidate_wins:,} of {guards.candidate_trades:,} trades, "
        f"stable {guards.stable_wins:,} of {guards.stable_trades:,}"
    )
    points = f"{100 * thresholds.win_rate_drop:.0f} points"
    if least - most > thresholds.win_rate_drop:
        reason = f"{seen}: at most {percent(most)} against at least {percent(least)}, down more than {points}"
        return result(Outcome.FAIL, reason)
    if fewest >= needed:
        return result(Outcome.PASS, f"{seen}: no sign of a drop by {points}")
    share = percent(fewest / needed)
    return result(Outcome.INCONCLUSIVE, f"{seen}: {share} of the {needed:,} trades that {points} need")
