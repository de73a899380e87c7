from __future__ import annotations

import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from autotrader.deployment.analysis import GuardEvidence, RolloutAnalysis
from autotrader.deployment.analysis.evidence import BETS
from autotrader.deployment.analysis.guards import judge_guards, sharpe_wealth
from autotrader.deployment.analysis.health import judge_health, judge_memory, theil_sen_slope
from autotrader.domain.errors import BadData
from autotrader.domain.rollout import FAST, Outcome, Stage
from autotrader.domain.thresholds import CANARY
from tests.unit.deployment.analysis.traffic import Candidate, health, look, outcome_of, pairs

MINUTES = 1440


def guards(days: float, *, drift_bps: float = 0.0, wins: int = 0, trades: int = 0) -> GuardEvidence:
    random = np.random.default_rng(1)
    returns = random.normal(0, 5e-4, (2, round(days * MINUTES)))
    return GuardEvidence(returns[0], returns[1] - drift_bps / 1e4, trades // 2, trades, wins, trades)


def test_a_candidate_that_is_dead_three_times_in_a_row_fails():
    assert judge_health(health(True, False, False, False), CANARY).outcome is Outcome.FAIL
    assert judge_health(health(False, False, False, True), CANARY).outcome is Outcome.FAIL


def test_a_report_that_was_lost_is_waited_for():
    assert judge_health(health(True, False, False), CANARY).outcome is Outcome.INCONCLUSIVE
    assert judge_health(health(True, False, False, True, False, True), CANARY).outcome is Outcome.PASS


def test_health_that_nobody_asked_for_is_not_passed():
    assert judge_health([], CANARY).outcome is Outcome.INCONCLUSIVE
    analysis = RolloutAnalysis(FAST, has_stable=False)
    analysis.add(Stage.SHADOW, pairs(800, Candidate(stable=False)))
    assert look(analysis, health=[]).outcome is Outcome.INCONCLUSIVE
    assert look(analysis, health=health(True, False, False, False)).outcome is Outcome.FAIL


def test_memory_that_grows_throughout_is_a_leak():
    leaking = judge_memory(health(memory_mib=[60 + 5 * i for i in range(20)]), CANARY)
    assert leaking.outcome is Outcome.FAIL
    assert "60 to 155 MiB" in leaking.reason


@pytest.mark.parametrize(
    "memory_mib",
    [
        [60 + 0.5 * i for i in range(20)],  # slowly
        [60] * 3 + [160] * 17,  # a pool is filled early
        [60] * 10 + [160] * 10,  # or later
        [60, 160] * 10,  # up and down
        [60] * 19 + [5_000],  # one wild report
    ],
)
def test_memory_that_does_something_else_is_no_leak(memory_mib: list[float]):
    assert judge_memory(health(memory_mib=memory_mib), CANARY).outcome is Outcome.PASS


def long_watch(count: int) -> list[float]:
    """With a wild report now and then, and a pool that breathes."""
    return [60 + 100 * i / count + 40 * (i % 2) + 5_000 * (i % 50 == 0) for i in range(count)]


def test_the_growth_of_a_long_watch_is_that_of_all_its_observations():
    count = 1_000
    seen = judge_memory(health(memory_mib=long_watch(count)), CANARY)
    x = np.arange(float(count))
    slope = theil_sen_slope(x, np.array(long_watch(count)))
    assert seen.outcome is Outcome.FAIL
    assert seen.evidence["observations"] == count
    assert seen.evidence["growth_bytes"] / 2**20 == pytest.approx(slope * (count - 1), rel=0.02)
    still = [value - 100 * i / count for i, value in enumerate(long_watch(count))]
    assert judge_memory(health(memory_mib=still), CANARY).outcome is Outcome.PASS


def test_the_memory_of_a_long_watch_is_judged_in_little_memory():
    observations = health(memory_mib=long_watch(5_000))
    tracemalloc.start()
    judge_memory(observations, CANARY)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6


def test_memory_that_is_not_reported_is_not_passed():
    assert judge_memory(health(memory_mib=[None] * 6), CANARY).outcome is Outcome.INCONCLUSIVE


def test_the_slope_is_that_of_most():
    x = np.arange(20.0)
    y = 3 * x
    y[7] = 1e9
    assert theil_sen_slope(x, y) == pytest.approx(3)
    assert theil_sen_slope(np.zeros(3), np.arange(3.0)) == 0


def test_guards_without_results_are_not_judged_and_hold_nothing_up():
    analysis = RolloutAnalysis(FAST, has_stable=False)
    analysis.add(Stage.SHADOW, pairs(800, Candidate(stable=False)))
    for given in (None, guards(0), guards(0.1)):
        seen = look(analysis, guards=given)
        assert seen.outcome is Outcome.PASS
        assert outcome_of(seen, "sharpe") is outcome_of(seen, "win_rate") is Outcome.INCONCLUSIVE


def test_a_guard_says_how_much_of_the_needed_data_there_is():
    sharpe, win_rate = judge_guards(guards(3, wins=10, trades=20), CANARY)
    assert sharpe.outcome is win_rate.outcome is Outcome.INCONCLUSIVE
    assert "days that a drop of 20 % from a Sharpe of 2 needs" in sharpe.reason
    assert 0 < sharpe.evidence["share_of_needed"] < 0.01
    assert "10 of 20 trades" in win_rate.reason


def test_a_candidate_that_loses_fast_fails_by_its_sharpe_ratio():
    analysis = RolloutAnalysis(FAST, has_stable=True)
    analysis.add(Stage.SHADOW, pairs(800, Candidate()))
    seen = look(analysis, guards=guards(20, drift_bps=0.5))
    assert seen.outcome is Outcome.FAIL
    assert outcome_of(seen, "sharpe") is Outcome.FAIL


def test_a_candidate_that_wins_far_less_often_fails():
    _, win_rate = judge_guards(guards(1, wins=100, trades=1_000), CANARY)
    assert win_rate.outcome is Outcome.FAIL
    _, alike = judge_guards(guards(1, wins=480, trades=1_000), CANARY)
    assert alike.outcome is Outcome.INCONCLUSIVE


def test_guards_rarely_alarm_without_a_difference():
    random = np.random.default_rng(3)
    common = random.normal(0, 1, (400, 600))
    returns = [common + random.normal(0, 1, common.shape) for _ in range(2)]
    ever = np.max(sharpe_wealth(returns[0], returns[1], CANARY), axis=1) >= math.log(20)
    assert np.mean(ever) <= 0.05


def test_periods_without_a_result_are_left_out():
    given = guards(2)
    holed = replace(given, candidate_returns=np.where(np.arange(2 * MINUTES) < MINUTES, np.nan, 0.0))
    sharpe, _ = judge_guards(holed, CANARY)
    assert sharpe.evidence["periods"] == MINUTES


def test_returns_of_other_periods_are_refused():
    with pytest.raises(BadData, match="same periods"):
        judge_guards(replace(guards(1), candidate_returns=np.zeros(3)), CANARY)


def test_a_block_is_measured_by_the_scale_of_those_before_it():
    stable = np.zeros(CANARY.guard_scale_blocks + 1)
    candidate = np.append(np.ones(CANARY.guard_scale_blocks), -3.0)
    (seen,) = sharpe_wealth(stable, candidate, CANARY)
    # Half of each part bets on the first block; three scales of the four at which they are clipped.
    assert math.exp(seen) == pytest.approx(np.mean([1 + share * 3 / 4 / 2 for share in BETS]))
