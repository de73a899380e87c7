"""Calibration: three numbers that make probabilities mean what they say."""

from __future__ import annotations

import numpy as np
import pytest

from autotrader.domain.errors import BadData
from autotrader.training.calibration import Calibration, fit_calibration


def drawn(n: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """True probabilities, and labels drawn from them."""
    generator = np.random.default_rng(seed)
    true = generator.dirichlet([2.0, 1.0, 2.0], n)
    label = (generator.random(n)[:, None] > true.cumsum(axis=1)).sum(axis=1) - 1
    return true, label.astype(np.int8)


def test_overconfidence_and_bias_are_taken_back() -> None:
    true, label = drawn(40_000)
    scores = 2.5 * np.log(true) + np.array([0.4, 0.0, -0.6])
    distorted = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    found = fit_calibration(distorted, label)
    assert found.slope == pytest.approx(1 / 2.5, abs=0.02)
    np.testing.assert_allclose(found.apply(distorted), true, atol=0.03)


def test_forecasts_without_skill_become_the_base_rates() -> None:
    _, label = drawn(20_000, seed=1)
    opinion = np.random.default_rng(2).dirichlet([1.0, 1.0, 1.0], len(label))
    calibrated = fit_calibration(opinion, label).apply(opinion)
    base = np.bincount(label + 1) / len(label)
    np.testing.assert_allclose(calibrated, np.broadcast_to(base, calibrated.shape), atol=0.02)


def test_a_slope_never_turns_a_forecast_round() -> None:
    true, label = drawn(5_000, seed=3)
    backwards = (1 - true) / 2
    assert fit_calibration(backwards, label).slope == 0.0


def test_rows_sum_to_one_even_at_certainty() -> None:
    certain = np.eye(3)
    calibrated = Calibration(1.7, (0.2, 0.0, -0.1)).apply(certain)
    np.testing.assert_allclose(calibrated.sum(axis=1), 1.0)
    assert np.isfinite(calibrated).all()


def test_a_class_that_never_occurs_is_refused() -> None:
    with pytest.raises(BadData, match=r"none of \[0\]"):
        fit_calibration(np.full((10, 3), 1 / 3), np.array([1, -1] * 5, np.int8))
