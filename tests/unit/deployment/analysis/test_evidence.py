from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.deployment.analysis.evidence import (
    block_sums,
    log_mixture,
    log_wealth,
    lower_bound,
    peak,
    upper_bound,
)

ALARM = 0.05
RUNS = 1_000


def test_betting_rarely_alarms_at_its_hypothesis_however_often_it_is_looked_at():
    draws = (np.random.default_rng(1).random((RUNS, 600)) < 0.01).astype(float)
    ever = np.max(log_wealth(draws, mean=0.01, lowest=0.0), axis=1) >= -math.log(ALARM)
    assert np.mean(ever) <= ALARM


def test_betting_on_signs_rarely_alarms_when_both_are_alike():
    draws = np.random.default_rng(2).choice([-1.0, 0.0, 1.0], (RUNS, 600))
    ever = np.max(log_wealth(draws, mean=0.0, lowest=-1.0), axis=1) >= -math.log(ALARM)
    assert np.mean(ever) <= ALARM


def test_betting_is_a_fair_game_at_its_hypothesis():
    draws = (np.random.default_rng(3).random((200_000, 3)) < 0.25).astype(float)
    wealth = np.exp(log_wealth(draws, mean=0.25, lowest=0.0))
    assert np.mean(wealth, axis=0) == pytest.approx(1.0, abs=0.02)


def test_betting_finds_twice_the_rate():
    draws = np.random.default_rng(4).random((100, 10_000)) < 0.02
    ever = np.max(log_wealth(block_sums(draws, 100) / 100, mean=0.01, lowest=0.0), axis=1) >= -math.log(0.001)
    assert np.mean(ever) == 1.0


def test_a_long_good_past_does_not_hide_what_broke_since():
    past = np.zeros(1_000)
    broken = np.concatenate([past, np.ones(6)])
    assert peak(log_wealth(past, mean=0.01, lowest=0.0)) < 0.1
    assert peak(log_wealth(broken, mean=0.01, lowest=0.0)) > -math.log(0.001)


@given(st.lists(st.floats(0, 1), max_size=30), st.lists(st.floats(0, 1), max_size=10))
@settings(max_examples=50)
def test_later_observations_leave_earlier_evidence_as_it_was(early: list[float], late: list[float]):
    whole = log_wealth(np.array(early + late), mean=0.1, lowest=0.0)
    assert whole[: len(early)] == pytest.approx(log_wealth(np.array(early), mean=0.1, lowest=0.0))


def test_a_bound_holds_at_all_times_at_once():
    draws = np.random.default_rng(5).random((200, 400)) < 0.05
    counts = np.cumsum(draws, axis=1)
    missed = [
        any(upper_bound(int(row[n - 1]), n, typical=0.05, alarm=ALARM) < 0.05 for n in range(5, 401, 25))
        for row in counts
    ]
    assert np.mean(missed) <= ALARM


@given(st.integers(0, 200), st.integers(1, 400))
@settings(max_examples=100)
def test_bounds_lie_on_either_side_of_the_observed_rate(events: int, more: int):
    trials = events + more
    high = upper_bound(events, trials, typical=0.1, alarm=0.01)
    low = lower_bound(events, trials, typical=0.1, alarm=0.01)
    rounding = 1e-12
    assert 0 <= low <= events / trials + rounding
    assert events / trials <= high <= 1


def test_the_bound_is_where_the_mixture_rejects():
    bound = upper_bound(3, 1_000, typical=0.01, alarm=0.01)
    assert log_mixture(3, 1_000, bound, typical=0.01) == pytest.approx(math.log(100), abs=1e-6)


def test_nothing_seen_bounds_nothing():
    assert upper_bound(0, 0, typical=0.01, alarm=0.01) == 1.0
    assert lower_bound(0, 0, typical=0.01, alarm=0.01) == 0.0
    assert peak(log_wealth(np.zeros(0), mean=0.01, lowest=0.0)) == 0.0


def test_a_block_that_is_not_full_waits():
    assert block_sums(np.arange(7.0), 3).tolist() == [3.0, 12.0]
    assert block_sums(np.ones((2, 4), dtype=bool), 2).tolist() == [[2.0, 2.0], [2.0, 2.0]]
