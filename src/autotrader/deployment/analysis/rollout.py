"""The statistics that judge a rollout, from the pairs alone.

Evidence of errors and latency runs through the whole rollout: a new stage is no reason to forget, and
an e-process that starts anew with each stage would have to be paid for with each. What broke only
lately is seen as well, for a part of the wealth starts with every block. A stage needs pairs of its
own, and each instrument that it took on needs some, so that it is more than a name.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autotrader.deployment.analysis.columns import ANSWERED, Columns
from autotrader.deployment.analysis.guards import GuardEvidence, judge_guards
from autotrader.deployment.analysis.health import HealthObservation, judge_health, judge_memory
from autotrader.deployment.analysis.latency import slow_in_each
from autotrader.deployment.analysis.predictions import describe_divergence, judge_parity
from autotrader.deployment.analysis.rates import Words, judge_bound, judge_comparison
from autotrader.deployment.analysis.results import CheckResult, Look
from autotrader.domain.rollout import Outcome, Profile, Stage
from autotrader.domain.thresholds import CANARY, CanaryThresholds
from autotrader.ports.deployment import Pair

# What a check of a bound may be wrong about is split evenly over the two bounds.
_BOUNDS = 2


def bound_block(profile: Profile, thresholds: CanaryThresholds = CANARY) -> int:
    """Requests that are one observation of the tests against the contract's bounds."""
    seconds = min(profile.check_seconds, thresholds.bound_block_seconds)
    return max(1, round(profile.requests_per_second * seconds))


class RolloutAnalysis:
    """All that is known of one rollout.

    The same pairs in the same order give the same verdicts, in whatever portions they were added,
    so that it is made again from the recorded pairs after a crash. A pair that is known is left out.

    Parameters
    ----------
    profile : Profile
    has_stable : bool
        Whether a version was live when the rollout began. Without, nothing is compared.
    thresholds : CanaryThresholds
    """

    def __init__(self, profile: Profile, *, has_stable: bool, thresholds: CanaryThresholds = CANARY) -> None:
        self._block = bound_block(profile, thresholds)
        self._has_stable = has_stable
        self._thresholds = thresholds
        self._columns = Columns.of(Stage.SHADOW, ())
        self._known: set[str] = set()

    def add(self, stage: Stage, pairs: Sequence[Pair]) -> None:
        """Take note of pairs, in order of arrival.

        Parameters
        ----------
        stage : Stage
            In which they arrived.
        pairs : sequence of Pair
        """
        new = []
        for pair in pairs:
            if pair.request_id not in self._known:
                self._known.add(pair.request_id)
                new.append(pair)
        if new:
            self._columns = self._columns.followed_by(Columns.of(stage, new))

    def look(
        self,
        stage: Stage,
        *,
        health: Sequence[HealthObservation],
        breaker_tripped: bool | None,
        guards: GuardEvidence | None,
        final: bool,
        owned: Sequence[str] = (),
    ) -> Look:
        """Judge all that is known now; asking more often costs nothing.

        Parameters
        ----------
        stage : Stage
            The one that is under way.
        health : sequence of HealthObservation
            Of the candidate in this stage, oldest first.
        breaker_tripped : bool or None
            None where nobody can say.
        guards : GuardEvidence or None
        final : bool
            The watch is over: the reason says what was missing.
        owned : sequence of str
            Instruments that the candidate owns in this stage; each needs some pairs.

        Raises
        ------
        BadData
            If the guards' returns are not paired.
        """
        errors = self._compare_errors(stage) if self._has_stable else None
        latency = self._compare_latency(stage) if self._has_stable else None
        checks = [
            self._judge_pairs(stage, owned),
            self._judge_errors(attributed=_is_candidates_doing(errors)),
            *([errors] if errors else []),
            self._judge_latency(attributed=_is_candidates_doing(latency)),
            *([latency] if latency else []),
            judge_parity(self._columns, stage, self._thresholds),
            judge_health(health, self._thresholds),
            judge_memory(health, self._thresholds),
            _judge_breaker(breaker_tripped),
            *([describe_divergence(self._columns)] if self._has_stable else []),
            *judge_guards(guards, self._thresholds),
        ]
        return Look.of(checks, final=final)

    def _judge_pairs(self, stage: Stage, owned: Sequence[str]) -> CheckResult:
        columns, least = self._columns, self._thresholds.instrument_pairs
        count = int(np.sum(columns.within(stage)))
        names, counts = np.unique(columns.instrument.astype(str), return_counts=True)
        of_each = dict(zip(names.tolist(), counts.tolist(), strict=True))
        short = [name for name in owned if of_each.get(name, 0) < least]
        evidence = {"requests": len(columns), "requests_of_stage": count, "of_each_instrument": of_each}

        def result(outcome: Outcome, reason: str) -> CheckResult:
            return CheckResult("requests", outcome, True, reason, evidence)

        if count < self._thresholds.stage_pairs:
            reason = f"{count:,} of {self._thresholds.stage_pairs:,} requests that a stage needs"
            return result(Outcome.INCONCLUSIVE, reason)
        if short:
            reason = f"fewer than {least} requests of {', '.join(short)}"
            return result(Outcome.INCONCLUSIVE, reason)
        return result(Outcome.PASS, f"{count:,} requests in this stage, {len(columns):,} in all")

    def _judge_errors(self, *, attributed: bool) -> CheckResult:
        columns, limits = self._columns, self._thresholds
        bad = columns.candidate_failed
        return judge_bound(
            Words("error_rate", "failed", "fail"),
            bad,
            np.isnan(columns.candidate_status),
            bad & columns.stable_failed,
            attributed=attributed,
            bound=limits.error_rate,
            alarm=limits.error_rate_alarm,
            block=self._block,
            false_pass=limits.false_pass / _BOUNDS,
        )

    def _judge_latency(self, *, attributed: bool) -> CheckResult:
        columns, limits = self._columns, self._thresholds
        longer = f"longer than {limits.latency_seconds * 1000:.0f} ms"
        bad = columns.candidate_seconds > limits.latency_seconds
        return judge_bound(
            Words("latency", f"took {longer}", f"take {longer}"),
            bad,
            np.isnan(columns.candidate_seconds),
            bad & (columns.stable_seconds > limits.latency_seconds),
            attributed=attributed,
            bound=limits.slow_share,
            alarm=limits.latency_alarm,
            block=self._block,
            false_pass=limits.false_pass / _BOUNDS,
        )

    def _compare_errors(self, stage: Stage) -> CheckResult:
        columns = self._columns
        asked = columns.stable_asked
        return judge_comparison(
            Words("error_comparison", "failed", "fail"),
            columns.candidate_failed[asked],
            columns.stable_failed[asked],
            stage_pairs=int(np.sum(asked & columns.within(stage))),
            alarm=self._thresholds.error_comparison_alarm,
            thresholds=self._thresholds,
        )

    def _compare_latency(self, stage: Stage) -> CheckResult:
        """On requests that stable answered: how fast it failed is nothing to be measured by."""
        columns = self._columns
        both = (
            (columns.stable_status == ANSWERED)
            & np.isfinite(columns.stable_seconds)
            & np.isfinite(columns.candidate_seconds)
        )
        candidate_slow, stable_slow = slow_in_each(
            columns.candidate_seconds[both], columns.stable_seconds[both], self._thresholds
        )
        return judge_comparison(
            Words("latency_comparison", "were slow by stable's own p99", "are slow"),
            candidate_slow,
            stable_slow,
            stage_pairs=int(np.sum(both & columns.within(stage))),
            alarm=self._thresholds.latency_comparison_alarm,
            thresholds=self._thresholds,
        )


def _is_candidates_doing(comparison: CheckResult | None) -> bool:
    """A candidate that is alone answers for itself."""
    return comparison is None or comparison.outcome is Outcome.FAIL


def _judge_breaker(tripped: bool | None) -> CheckResult:
    if tripped is None:
        reason = "not judged: the circuit breaker's state is not known"
        return CheckResult("circuit_breaker", Outcome.INCONCLUSIVE, False, reason, {"tripped": None})
    outcome, state = (Outcome.FAIL, "tripped") if tripped else (Outcome.PASS, "closed")
    return CheckResult("circuit_breaker", outcome, True, f"circuit breaker {state}", {"tripped": tripped})
