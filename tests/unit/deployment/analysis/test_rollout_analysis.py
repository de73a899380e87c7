from __future__ import annotations

import itertools
import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.deployment.analysis import RolloutAnalysis
from autotrader.deployment.analysis.latency import slow_limits
from autotrader.domain.rollout import FAST, STANDARD, Outcome, Stage
from autotrader.domain.thresholds import CANARY
from tests.unit.deployment.analysis.traffic import INSTRUMENT, Candidate, look, outcome_of, pairs, run

FIRST = Candidate(stable=False)


def analysis_of(count: int, candidate: Candidate = FIRST, stage: Stage = Stage.SHADOW) -> RolloutAnalysis:
    analysis = RolloutAnalysis(FAST, has_stable=candidate.stable)
    analysis.add(stage, pairs(count, candidate))
    return analysis


@pytest.mark.parametrize("stable", [True, False])
def test_a_good_candidate_passes_every_stage_of_the_fast_profile(stable: bool):
    seen, stage, _ = run(FAST, Candidate(stable=stable))
    assert (seen.outcome, stage) == (Outcome.PASS, Stage.FULL), seen.reason


def test_a_good_candidate_passes_the_shadow_of_the_standard_profile():
    seen, _, sent = run(STANDARD, Candidate(), stages=[Stage.SHADOW])
    assert (seen.outcome, sent) == (Outcome.PASS, 9_000), seen.reason


def test_a_stage_of_the_fast_profile_decides_within_six_hundred_requests():
    assert look(analysis_of(520)).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("candidate", "within", "check"),
    [
        (Candidate(errors=1.0), 300, "error_comparison"),
        (Candidate(errors=0.05), 600, "error_comparison"),
        (Candidate(errors=0.02), 1_500, "error_comparison"),
        (Candidate(slower=100.0), 600, "latency_comparison"),
        (Candidate(slower=2.0), 3_000, "latency_comparison"),
        (Candidate(errors=1.0, stable=False), 300, "error_rate"),
        (Candidate(errors=0.05, stable=False), 1_500, "error_rate"),
        (Candidate(slower=100.0, stable=False), 400, "latency"),
        (Candidate(parity=2e-5), 100, "parity"),
        (Candidate(parity=math.inf), 100, "parity"),
    ],
)
def test_a_planted_fault_is_found_and_named(candidate: Candidate, within: int, check: str):
    profile = replace(FAST, watch_seconds={Stage.SHADOW: 36})
    seen, _, sent = run(profile, candidate)
    assert seen.outcome is Outcome.FAIL
    assert outcome_of(seen, check) is Outcome.FAIL
    assert sent <= within


def test_two_percent_of_errors_are_found_in_shadow_at_the_standard_rate():
    for candidate in (Candidate(errors=0.02), Candidate(errors=0.02, stable=False)):
        seen, _, _ = run(STANDARD, candidate, stages=[Stage.SHADOW])
        assert seen.outcome is Outcome.FAIL


def test_both_colours_alike_are_not_told_apart():
    errors = Candidate(errors=0.004, stable_errors=0.004)
    failed = [run(FAST, errors, seed=seed)[0].outcome is Outcome.FAIL for seed in range(5)]
    assert not any(failed)


def test_what_fails_in_both_is_not_held_against_the_candidate():
    analysis = RolloutAnalysis(FAST, has_stable=True)
    shared = [
        replace(p, candidate_status=422, stable_status=422, parity_difference=None) if i < 40 else p
        for i, p in enumerate(pairs(800, Candidate()))
    ]
    analysis.add(Stage.SHADOW, shared)
    seen = look(analysis)
    assert seen.outcome is Outcome.PASS, seen.reason
    assert "40 of 800 requests failed, 0 of them with the candidate alone" in seen.reason


def test_a_bound_that_both_colours_break_is_for_a_person_to_judge():
    seen, _, sent = run(STANDARD, Candidate(errors=0.1, stable_errors=0.1), stages=[Stage.SHADOW])
    assert (seen.outcome, sent) == (Outcome.INCONCLUSIVE, 9_000)
    assert "no sign that the candidate is worse" in seen.reason


def test_a_stall_of_the_machine_that_is_over_is_forgiven():
    stalled = [replace(p, candidate_seconds=1.0, stable_seconds=1.0) for p in pairs(300, Candidate())]
    analysis = RolloutAnalysis(FAST, has_stable=True)
    analysis.add(Stage.SHADOW, [*stalled, *pairs(2_000, Candidate(), first=300)])
    assert look(analysis).outcome is Outcome.PASS


def test_what_breaks_late_is_found_soon():
    analysis = RolloutAnalysis(FAST, has_stable=True)
    analysis.add(Stage.SHADOW, pairs(10_000, Candidate()))
    assert look(analysis).outcome is Outcome.PASS
    analysis.add(Stage.FULL, pairs(800, Candidate(errors=1.0), first=10_000))
    assert look(analysis, Stage.FULL).outcome is Outcome.FAIL


def test_no_pair_is_never_a_pass():
    seen = look(RolloutAnalysis(FAST, has_stable=True), final=True)
    assert seen.outcome is Outcome.INCONCLUSIVE
    assert "undecided when the watch ended" in seen.reason
    assert "0 of 100 requests" in seen.reason
    assert not any(
        c.outcome is Outcome.PASS for c in seen.checks if c.name in ("error_rate", "latency", "parity")
    )


def test_few_pairs_are_not_enough():
    assert look(analysis_of(300)).outcome is Outcome.INCONCLUSIVE


def test_a_stage_needs_pairs_of_its_own():
    analysis = analysis_of(2_000)
    assert look(analysis, Stage.SHADOW).outcome is Outcome.PASS
    assert look(analysis, Stage.CANARY).outcome is Outcome.INCONCLUSIVE
    analysis.add(Stage.CANARY, pairs(100, FIRST, first=2_000))
    assert look(analysis, Stage.CANARY).outcome is Outcome.PASS


def test_each_instrument_that_is_owned_needs_pairs():
    seen = look(analysis_of(2_000), owned=[INSTRUMENT, "binance:ETHUSDT"])
    assert seen.outcome is Outcome.INCONCLUSIVE
    assert "binance:ETHUSDT" in seen.reason
    assert look(analysis_of(2_000), owned=[INSTRUMENT]).outcome is Outcome.PASS


@pytest.mark.parametrize("missing", [None, math.nan])
def test_an_answer_that_was_not_compared_with_the_offline_model_is_not_passed(missing: float | None):
    analysis = analysis_of(800)
    analysis.add(Stage.SHADOW, pairs(1, replace(FIRST, parity=missing), first=800))
    seen = look(analysis)
    assert seen.outcome is Outcome.INCONCLUSIVE
    assert outcome_of(seen, "parity") is Outcome.INCONCLUSIVE


def test_callers_have_no_offline_model_and_neither_hold_a_rollout_up_nor_pass_it():
    asked = [replace(p, replayed=False) for p in pairs(800, replace(FIRST, parity=None), first=800)]
    analysis = analysis_of(800)
    analysis.add(Stage.SHADOW, asked)
    assert look(analysis).outcome is Outcome.PASS
    alone = RolloutAnalysis(STANDARD, has_stable=False)
    alone.add(Stage.SHADOW, asked)
    assert outcome_of(look(alone), "parity") is Outcome.INCONCLUSIVE
    wrong = [replace(p, parity_difference=2e-5) for p in asked[:1]]
    alone.add(Stage.SHADOW, [replace(p, request_id="wrong") for p in wrong])
    assert outcome_of(look(alone), "parity") is Outcome.FAIL


def test_latency_that_was_not_measured_speaks_neither_way():
    unmeasured = [replace(p, candidate_seconds=math.nan) for p in pairs(800, FIRST)]
    analysis = RolloutAnalysis(FAST, has_stable=False)
    analysis.add(Stage.SHADOW, unmeasured)
    assert outcome_of(look(analysis), "latency") is Outcome.INCONCLUSIVE


def test_a_stable_colour_that_was_not_asked_leaves_the_comparison_open():
    analysis = RolloutAnalysis(FAST, has_stable=True)
    analysis.add(Stage.SHADOW, pairs(800, FIRST))
    seen = look(analysis)
    assert outcome_of(seen, "error_comparison") is Outcome.INCONCLUSIVE
    assert outcome_of(seen, "latency_comparison") is Outcome.INCONCLUSIVE
    assert seen.outcome is Outcome.INCONCLUSIVE


def test_a_first_deployment_compares_nothing():
    names = {c.name for c in look(analysis_of(800)).checks}
    assert not names & {"error_comparison", "latency_comparison", "divergence"}


@given(st.lists(st.integers(1, 250), max_size=6), st.booleans())
@settings(max_examples=8)
def test_portions_and_repetitions_change_nothing(sizes: list[int], again: bool):
    every = pairs(900, Candidate(errors=0.01))
    whole, parts = (RolloutAnalysis(FAST, has_stable=True) for _ in range(2))
    whole.add(Stage.SHADOW, every)
    cuts = [0, *np.minimum(np.cumsum(sizes, dtype=int), 900).tolist(), 900]
    for begin, end in itertools.pairwise(cuts):
        parts.add(Stage.SHADOW, every[0 if again else begin : end])
    assert look(parts) == look(whole)


def test_a_look_changes_nothing():
    analysis = analysis_of(800, Candidate(errors=0.01))
    assert look(analysis) == look(analysis)


def test_a_tripped_breaker_fails_and_an_unknown_one_is_not_judged():
    analysis = analysis_of(800)
    assert look(analysis, breaker_tripped=True).outcome is Outcome.FAIL
    unknown = look(analysis, breaker_tripped=None)
    assert unknown.outcome is Outcome.PASS
    assert outcome_of(unknown, "circuit_breaker") is Outcome.INCONCLUSIVE


def test_evidence_is_json_and_reasons_are_sentences_with_numbers():
    seen = look(analysis_of(1_940))
    json.dumps([asdict(c) for c in seen.checks], allow_nan=False)
    assert "0 of 1,940 requests failed; at most 0.29 % fail (97.5 % confidence)" in seen.reason


def test_divergence_is_recorded_and_decides_nothing():
    seen = look(analysis_of(800, Candidate()))
    (divergence,) = [c for c in seen.checks if c.name == "divergence"]
    assert not divergence.deciding
    assert divergence.evidence["pairs"] == 800
    assert divergence.evidence["same_sign_share"] == pytest.approx(0.5, abs=0.1)


def test_slow_is_what_the_stable_colour_rarely_is():
    seconds = np.random.default_rng(1).exponential(0.02, 1_000)
    limits = slow_limits(seconds, CANARY)
    assert np.all(np.isinf(limits[: CANARY.latency_warm_pairs]))
    assert limits[200] == limits[399] == np.quantile(seconds[:200], 0.99)
    assert limits[400] == np.quantile(seconds[:400], 0.99)
    assert slow_limits(seconds / 1_000, CANARY)[500] == CANARY.latency_floor_seconds
    assert slow_limits(seconds * 1_000, CANARY)[500] == CANARY.latency_seconds / CANARY.latency_tolerance


def test_the_budget_of_false_rollbacks_is_not_overdrawn():
    spent = (
        CANARY.error_rate_alarm + CANARY.latency_alarm + CANARY.error_comparison_alarm
        + CANARY.latency_comparison_alarm + CANARY.sharpe_alarm + CANARY.win_rate_alarm
    )  # fmt: skip
    assert spent <= CANARY.false_rollback
