"""Errors and slow answers: against the contract's bound, and against the stable colour."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from autotrader.deployment.analysis.evidence import block_sums, log_mixture, log_wealth, peak, upper_bound
from autotrader.deployment.analysis.results import CheckResult, odds, percent
from autotrader.domain.rollout import Outcome
from autotrader.domain.thresholds import CanaryThresholds
from autotrader.execution.arrays import Booleans, Floats


@dataclass(frozen=True, slots=True)
class Words:
    """How a check speaks of what it counts: `failed`, or `took longer than 200 ms`."""

    name: str
    happened: str
    happens: str


def bound_wealth(bad: Floats, *, bound: float, block: int) -> Floats:
    """Log e-process, after each block, against "at most `bound` of the requests are bad".

    A block counts by its share: whatever runs bad requests come in within it, they are one observation.
    """
    return log_wealth(block_sums(bad, block) / block, mean=bound, lowest=0.0)


def signs(candidate_bad: Floats, stable_bad: Floats, *, block: int) -> Floats:
    """Of each block: 1 where the candidate had more that is bad, -1 where the stable colour had."""
    return np.sign(block_sums(candidate_bad - stable_bad, block))


def comparison_wealth(block_signs: Floats, *, tolerance: float) -> Floats:
    """Log e-process against "of two colours alike, neither has the worse block more often".

    What hits both at once cancels; within a block the size of a burst does not count.
    """
    return log_wealth(block_signs, mean=tolerance, lowest=-1.0)


def is_below(events: int, trials: int, bound: float, alarm: float) -> bool:
    """Whether the counting mixture rejects "the rate is `bound` or more"."""
    if trials == 0 or events >= bound * trials:
        return False
    return log_mixture(events, trials, bound, typical=bound) >= -math.log(alarm)


def judge_bound(
    words: Words,
    bad: Booleans,
    unknown: Booleans,
    shared: Booleans,
    *,
    attributed: bool,
    bound: float,
    alarm: float,
    block: int,
    false_pass: float,
) -> CheckResult:
    """Judge a share of bad requests against its bound.

    Fails where it is shown to be above, and that by the candidate's doing. What both colours break
    is the machine's or the requests' fault: taking the candidate back mends nothing, so it is for a
    person to judge. Passes where the share that is bad in the candidate alone is shown to be below.

    Parameters
    ----------
    bad : bool[n]
        In the candidate.
    unknown : bool[n]
        Not measured: never evidence against it, and never for it.
    shared : bool[n]
        Bad in the stable colour as well.
    attributed : bool
        Whether it is the candidate's doing: it was shown to be worse than the stable colour, or is alone.
    """
    trials, events = len(bad), int(np.sum(bad))
    alone = int(np.sum((bad & ~shared) | unknown))
    wealth = bound_wealth(bad.astype(np.float64), bound=bound, block=block)
    against, needed = peak(wealth), -math.log(alarm)
    broken_now = len(wealth) > 0 and float(wealth[-1]) >= needed
    highest = upper_bound(alone, trials, typical=bound, alarm=false_pass)
    evidence = {
        "requests": trials,
        "events": events,
        "events_alone": alone,
        "not_measured": int(np.sum(unknown)),
        "share": events / trials if trials else None,
        "bound": bound,
        "upper_bound_alone": highest,
        "confidence": 1 - false_pass,
        "log_evidence_above": against,
        "log_evidence_needed": needed,
        "attributed": attributed,
        "block": block,
    }

    def result(outcome: Outcome, reason: str) -> CheckResult:
        return CheckResult(words.name, outcome, True, reason, evidence)

    if trials == 0:
        return result(Outcome.INCONCLUSIVE, f"no request yet, so none that {words.happened}")
    seen = f"{events:,} of {trials:,} requests {words.happened}"
    above = f"{percent(events / trials)}, above {percent(bound)}, evidence {odds(against)}"
    if against >= needed and attributed:
        return result(Outcome.FAIL, f"{seen}: {above}")
    if broken_now:
        return result(
            Outcome.INCONCLUSIVE,
            f"{seen}: {above}; {int(np.sum(bad & shared)):,} of them in both colours and no sign that the "
            "candidate is worse: look at the machine and the requests",
        )
    if np.any(shared & bad):
        seen += f", {alone:,} of them with the candidate alone"
    if np.any(unknown):
        seen += f", {int(np.sum(unknown)):,} were not measured"
    most = f"at most {percent(highest)} {words.happens} ({percent(1 - false_pass)} confidence)"
    if is_below(alone, trials, bound, false_pass):
        return result(Outcome.PASS, f"{seen}; {most}")
    return result(Outcome.INCONCLUSIVE, f"{seen}; {most}, which has to come below {percent(bound)}")


def judge_comparison(
    words: Words,
    candidate_bad: Booleans,
    stable_bad: Booleans,
    *,
    stage_pairs: int,
    alarm: float,
    thresholds: CanaryThresholds,
) -> CheckResult:
    """Judge the candidate against the stable colour on the same requests.

    Parameters
    ----------
    candidate_bad, stable_bad : bool[n]
        Of the requests that both were asked, in order.
    stage_pairs : int
        How many of them arrived in this stage.
    """
    sign = signs(
        candidate_bad.astype(np.float64), stable_bad.astype(np.float64), block=thresholds.comparison_block
    )
    against = peak(comparison_wealth(sign, tolerance=thresholds.comparison_tolerance))
    worse, better = int(np.sum(sign > 0)), int(np.sum(sign < 0))
    evidence = {
        "requests": len(candidate_bad),
        "requests_of_stage": stage_pairs,
        "candidate_events": int(np.sum(candidate_bad)),
        "stable_events": int(np.sum(stable_bad)),
        "candidate_alone": int(np.sum(candidate_bad & ~stable_bad)),
        "stable_alone": int(np.sum(stable_bad & ~candidate_bad)),
        "blocks": len(sign),
        "blocks_worse": worse,
        "blocks_better": better,
        "log_evidence_worse": against,
        "log_evidence_needed": -math.log(alarm),
    }
    seen = (
        f"candidate {evidence['candidate_events']:,} and stable {evidence['stable_events']:,} "
        f"of the same {len(candidate_bad):,} requests {words.happened}"
    )
    if against >= -math.log(alarm):
        reason = f"{seen}: worse in {worse:,} blocks, better in {better:,}, evidence {odds(against)}"
        return CheckResult(words.name, Outcome.FAIL, True, reason, evidence)
    if stage_pairs < thresholds.stage_pairs:
        reason = f"{stage_pairs:,} of {thresholds.stage_pairs:,} requests to both in this stage: {seen}"
        return CheckResult(words.name, Outcome.INCONCLUSIVE, True, reason, evidence)
    reason = f"{seen}: no sign that it is worse"
    return CheckResult(words.name, Outcome.PASS, True, reason, evidence)
