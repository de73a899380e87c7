"""What the candidate predicts: as its offline copy does, and how far from the stable colour."""

from __future__ import annotations

import numpy as np

from autotrader.deployment.analysis.columns import ANSWERED, Columns
from autotrader.deployment.analysis.results import CheckResult, percent
from autotrader.domain.rollout import Outcome, Stage
from autotrader.domain.thresholds import CanaryThresholds

_QUANTILES = (0.5, 0.9, 0.99, 1.0)


def judge_parity(columns: Columns, stage: Stage, thresholds: CanaryThresholds) -> CheckResult:
    """One answer that is not the offline model's fails; a replayed one that was not compared is not passed.

    Callers have no offline model beside them: their answers are only counted, however many they are.

    Parameters
    ----------
    columns : Columns
        Of the whole rollout.
    stage : Stage
        Whose replayed answers have to be compared without a gap.
    """
    answered = columns.candidate_status == ANSWERED
    compared = answered & np.isfinite(columns.parity)
    wrong = answered & (columns.parity > thresholds.prediction_difference)  # infinity is wrong as well
    here = columns.within(stage)
    gaps = int(np.sum(answered & ~compared & ~wrong & here & columns.replayed))
    checked = int(np.sum(compared & here))
    largest = float(np.max(columns.parity[compared], initial=0.0)) if compared.any() else None
    evidence = {
        "answers": int(np.sum(answered)),
        "compared": int(np.sum(compared)),
        "compared_in_stage": checked,
        "not_compared_in_stage": gaps,
        "wrong": int(np.sum(wrong)),
        "largest_difference": largest,
        "bound": thresholds.prediction_difference,
    }

    def result(outcome: Outcome, reason: str) -> CheckResult:
        return CheckResult("parity", outcome, True, reason, evidence)

    if wrong.any():
        return result(
            Outcome.FAIL,
            f"{evidence['wrong']:,} of {evidence['answers']:,} answers are not the offline model's: "
            f"probabilities differ by up to {float(np.max(columns.parity[wrong])):.2g}, "
            f"at most {thresholds.prediction_difference:.0e} is rounding",
        )
    if gaps:
        reason = f"{gaps:,} answers of this stage could not be compared with the offline model"
        return result(Outcome.INCONCLUSIVE, reason)
    if checked == 0:
        return result(Outcome.INCONCLUSIVE, "no answer of this stage to compare with the offline model")
    return result(
        Outcome.PASS,
        f"{evidence['compared']:,} answers are the offline model's (largest difference {largest:.1e})",
    )


def describe_divergence(columns: Columns) -> CheckResult:
    """How the colours' scores differ; different models do, so nothing is decided on it."""
    both = np.isfinite(columns.candidate_score) & np.isfinite(columns.stable_score)
    candidate, stable = columns.candidate_score[both], columns.stable_score[both]
    if len(candidate) == 0:
        reason = "no request was scored by both colours"
        return CheckResult("divergence", Outcome.INCONCLUSIVE, False, reason, {"pairs": 0})
    apart = np.abs(candidate - stable)
    agree = float(np.mean(np.sign(candidate) == np.sign(stable)))
    quantiles = dict(zip(_QUANTILES, np.quantile(apart, _QUANTILES).tolist(), strict=True))
    evidence = {
        "pairs": len(candidate),
        "same_sign_share": agree,
        "mean_difference": float(np.mean(candidate - stable)),
        **{f"difference_q{round(100 * q)}": value for q, value in quantiles.items()},
    }
    reason = (
        f"recorded, not judged: scores differ by {quantiles[0.5]:.2g} in the median and "
        f"{quantiles[0.99]:.2g} at p99, and agree in sign for {percent(agree)} of {len(candidate):,} requests"
    )
    return CheckResult("divergence", Outcome.INCONCLUSIVE, False, reason, evidence)
