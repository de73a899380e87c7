import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.domain.errors import BadData, ConfigurationError
from autotrader.execution.arrays import Floats, Times
from autotrader.execution.clock import bar_length, bars_per_year, microseconds
from autotrader.execution.sizing import Sizing, next_target, target_positions
from tests.unit.execution.market import minutes

PLAIN = Sizing(entry_score=0.5, holding=timedelta(minutes=3))


def positions(score: list[float], sizing: Sizing = PLAIN, **given: object) -> list[float]:
    ts = minutes(len(score))
    return target_positions(ts, np.array(score), sizing=sizing, **given).tolist()  # type: ignore[arg-type]


def bar_by_bar(ts: Times, score: Floats, volatility: Floats, sizing: Sizing) -> list[float]:
    """What the trader does: one call a bar."""
    rates = sizing.rates(interval=bar_length(ts), bars_a_year=bars_per_year(ts))
    target, expires_us, out = 0.0, 0, []
    for now_us, s, v in zip(microseconds(ts).tolist(), score.tolist(), volatility.tolist(), strict=True):
        target, expires_us = next_target(target, expires_us, now_us, s, v, *rates)
        out.append(target)
    return out


def test_a_strong_score_is_held_for_the_holding_time() -> None:
    assert positions([0.0, 0.6, 0.0, 0.0, 0.0, 0.0]) == [0, 1, 1, 1, 0, 0]


def test_a_score_at_the_threshold_is_not_beyond_it() -> None:
    assert positions([0.5, 0.5]) == [0, 0]


def test_a_confirming_score_renews_the_holding_time() -> None:
    assert positions([0.6, 0.0, 0.7, 0.0, 0.0, 0.0, 0.0]) == [1, 1, 1, 1, 1, 0, 0]


def test_a_fall_makes_a_short_only_where_that_is_allowed() -> None:
    assert positions([0.6, -0.6, 0.0]) == [1, 0, 0]
    assert positions([0.6, -0.6, 0.0], replace(PLAIN, shortable=True)) == [1, -1, -1]


def test_no_opinion_changes_nothing() -> None:
    assert positions([math.nan, 0.6, math.nan, math.nan, math.nan]) == [0, 1, 1, 1, 0]


def test_holding_is_time_and_not_rows() -> None:
    ts = minutes(20)[[0, 1, 2, 15, 16]]
    held = target_positions(ts, np.array([0.6, 0, 0, 0, 0]), sizing=PLAIN)
    assert held.tolist() == [1, 1, 1, 0, 0]


def test_twice_the_volatility_is_half_the_position() -> None:
    sizing = replace(PLAIN, volatility_target=0.2)
    calm, wild = (
        positions([0.6, 0.0], sizing, volatility=np.full(2, v), bars_a_year=525_600.0)[0]
        for v in (0.001, 0.002)
    )
    assert calm == pytest.approx(0.2 / (0.001 * math.sqrt(525_600)))
    assert wild == pytest.approx(calm / 2)


def test_a_position_keeps_the_size_it_was_given() -> None:
    sizing = replace(PLAIN, volatility_target=0.2)
    volatility = np.array([0.001, 0.002, 0.004, 0.004, 0.004, 0.004])
    held = positions([0.6, 0.6, 0.6, 0.0, 0.0, 0.0], sizing, volatility=volatility)
    assert held == [held[0]] * 5 + [0.0]


def test_no_position_is_larger_than_the_largest() -> None:
    sizing = replace(PLAIN, volatility_target=5.0, max_position=0.2)
    assert positions([0.6, 0.0], sizing, volatility=np.full(2, 1e-6)) == [0.2, 0.2]


def test_a_move_too_small_for_its_costs_opens_nothing() -> None:
    sizing = replace(PLAIN, cost_multiple=1.0, round_trip_cost_bps=10.0)
    expected_move = 0.6 * 0.001 * math.sqrt(3)
    assert expected_move > 10e-4
    assert positions([0.6, 0.0], sizing, volatility=np.full(2, 0.001)) == [1, 1]
    assert positions([0.6, 0.0], replace(sizing, cost_multiple=1.1), volatility=np.full(2, 0.001)) == [0, 0]


@pytest.mark.parametrize("unknown", [math.nan, 0.0])
def test_without_a_known_volatility_nothing_is_opened(unknown: float) -> None:
    sizing = replace(PLAIN, volatility_target=0.2)
    assert positions([0.6, 0.6], sizing, volatility=np.full(2, unknown)) == [0, 0]


def test_a_rule_that_needs_volatility_says_so() -> None:
    with pytest.raises(BadData, match="expected volatility"):
        positions([0.6, 0.0], replace(PLAIN, volatility_target=0.2))


@pytest.mark.parametrize("length", [1, 3])
def test_scores_and_volatilities_are_one_a_bar(length: int) -> None:
    with pytest.raises(BadData, match="expected a score"):
        target_positions(minutes(2), np.zeros(length), sizing=PLAIN)
    with pytest.raises(BadData, match="expected a volatility"):
        target_positions(minutes(2), np.zeros(2), sizing=PLAIN, volatility=np.ones(length))


@pytest.mark.parametrize(
    "wrong",
    [
        {"entry_score": 1.0},
        {"entry_score": -0.1},
        {"entry_score": math.nan},
        {"holding": timedelta(0)},
        {"volatility_target": 0.0},
        {"max_position": 1.5},
        {"cost_multiple": -1.0},
        {"round_trip_cost_bps": math.inf},
    ],
)
def test_rules_out_of_range_are_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=f"expected {next(iter(wrong))}"):
        replace(PLAIN, **wrong)  # type: ignore[arg-type]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    entry=st.sampled_from([0.0, 0.2, 0.6]),
    holding=st.integers(1, 40),
    shortable=st.booleans(),
    target=st.none() | st.floats(0.05, 3),
    multiple=st.sampled_from([0.0, 1.0, 3.0]),
    holes=st.booleans(),
)
def test_the_history_is_the_trader_s_own_call_bar_by_bar(
    seed: int,
    entry: float,
    holding: int,
    shortable: bool,
    target: float | None,
    multiple: float,
    holes: bool,
) -> None:
    rng = np.random.default_rng(seed)
    n = 150
    ts = np.sort(rng.choice(minutes(300), n, replace=False)) if holes else minutes(n)
    score = np.clip(rng.normal(0, 0.4, n), -1, 1)
    score[rng.random(n) < 0.1] = np.nan
    score[rng.random(n) < 0.2] = 0.0
    volatility = rng.uniform(1e-4, 2e-3, n)
    volatility[rng.random(n) < 0.1] = np.nan
    sizing = Sizing(
        entry_score=entry,
        holding=timedelta(minutes=holding),
        volatility_target=target,
        cost_multiple=multiple,
        round_trip_cost_bps=5.0,
        shortable=shortable,
    )
    history = target_positions(ts, score, sizing=sizing, volatility=volatility)
    assert history.tolist() == bar_by_bar(ts, score, volatility, sizing)
    assert np.all(np.abs(history) <= 1.0)
    assert shortable or np.all(history >= 0.0)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), cut=st.integers(2, 99))
def test_a_position_never_depends_on_later_scores(seed: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    score, ts = rng.uniform(-1, 1, 100), minutes(100)
    whole = target_positions(ts, score, sizing=PLAIN)
    changed = np.concatenate((score[:cut], rng.uniform(-1, 1, 100 - cut)))
    assert np.array_equal(target_positions(ts, changed, sizing=PLAIN)[:cut], whole[:cut])
