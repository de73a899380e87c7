"""Measures of forecasts, against what a slow and obvious reading of their definitions gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.training.skill import area, direction_area, error_by_shifts, measure_skill


@settings(max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40))
def test_the_area_counts_pairs_and_ties_half(rows: list[tuple[bool, int]]) -> None:
    event = np.array([e for e, _ in rows])
    score = np.array([s for _, s in rows], float)
    pairs = [(a > b) + (a == b) / 2 for a in score[event] for b in score[~event]]
    assert area(event, score) == pytest.approx(np.mean(pairs) if pairs else np.nan, nan_ok=True)


def test_the_area_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    generator = np.random.default_rng(0)
    event = generator.random(500) < 0.3
    score = np.round(generator.normal(size=500) + event, 1)
    assert area(event, score) == pytest.approx(roc_auc_score(event, score))


def test_direction_leaves_out_what_did_not_move() -> None:
    label = np.array([1, 0, -1, 0, 1, -1], np.int8)
    assert direction_area(label, np.array([3.0, 9, 1, -9, 2, 0])) == 1.0


def test_chance_varies_more_where_forecasts_and_outcomes_persist() -> None:
    generator = np.random.default_rng(1)
    single = np.sign(generator.normal(size=4_000)).astype(np.int8)
    lasting = np.repeat(single[:40], 100)
    score = np.cumsum(generator.normal(size=4_000))
    how = {"instants_per_horizon": 100, "rows_per_instant": 1, "seed": 0}
    of_single = error_by_shifts(single, score, **how)
    assert of_single == pytest.approx(1 / np.sqrt(3 * 4_000), rel=0.3)
    assert error_by_shifts(lasting, score, **how) > 5 * of_single


def test_a_perfect_forecast_and_one_of_base_rates() -> None:
    label = np.array([-1, 0, 1, 1] * 100, np.int8)
    perfect = np.eye(3)[label + 1]
    found = measure_skill(perfect, label, instants_per_horizon=1, rows_per_instant=1, seed=0)
    assert (found.auc, found.direction_auc, found.brier, found.ece) == (1.0, 1.0, 0.0, 0.0)
    assert (found.precision_at_k, found.base_rate_up, found.k) == (1.0, 0.5, 20)
    base = np.broadcast_to([0.25, 0.25, 0.5], perfect.shape)
    found = measure_skill(base, label, instants_per_horizon=1, rows_per_instant=1, seed=0)
    assert found.log_loss == pytest.approx(found.base_rate_log_loss)
    assert (found.auc, found.direction_auc, found.ece) == (0.5, 0.5, 0.0)


def test_a_market_that_only_rose_has_no_area() -> None:
    found = measure_skill(
        np.full((50, 3), 1 / 3), np.ones(50, np.int8), instants_per_horizon=1, rows_per_instant=1, seed=0
    )
    assert (found.auc, found.direction_auc, found.direction_auc_error) == (None, None, None)
