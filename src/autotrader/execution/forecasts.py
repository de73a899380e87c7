"""Measures of probability forecasts: of an event that happened (1) or not (0), and of three classes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autotrader.domain.errors import BadData
from autotrader.execution.arrays import Booleans, Floats

Outcomes = npt.NDArray[np.integer] | Booleans
CALIBRATION_BINS = 10


@dataclass(frozen=True, slots=True)
class ForecastQuality:
    """How good forecasts of -1, 0, +1 were, in what an alert can be judged by.

    Attributes
    ----------
    rows : int
    accuracy : float
        Share of rows whose most likely class came true.
    mean_confidence : float
        Mean probability of the most likely class.
    calibration_error : float
        Of that probability.
    """

    rows: int
    accuracy: float
    mean_confidence: float
    calibration_error: float


def measure_forecasts(probabilities: Floats, label: npt.NDArray[np.integer]) -> ForecastQuality:
    """Measure forecasts against what happened.

    Parameters
    ----------
    probabilities : float64[n, 3]
        Of -1, 0, +1.
    label : int[n]

    Raises
    ------
    BadData
        If there is no row, or as many labels as rows there are not.
    """
    confidence = np.minimum(probabilities.max(axis=1), 1.0)
    right = probabilities.argmax(axis=1) == np.asarray(label, np.int64) + 1
    return ForecastQuality(
        rows=len(label),
        accuracy=float(right.mean()) if len(right) else math.nan,
        mean_confidence=float(confidence.mean()) if len(right) else math.nan,
        calibration_error=expected_calibration_error(right, confidence),
    )


def brier_score(outcome: Outcomes, probability: Floats) -> float:
    """Mean squared error of the probability (Brier 1950); 0.25 is a coin's."""
    _require_forecasts(outcome, probability)
    return float(np.mean(np.square(probability - outcome)))


def log_loss(outcome: Outcomes, probability: Floats) -> float:
    """Mean negative log likelihood, in nats; a wrong certainty costs as much as 1e-15 allows."""
    _require_forecasts(outcome, probability)
    bounded = np.clip(probability, 1e-15, 1 - 1e-15)
    return float(-np.mean(np.where(outcome, np.log(bounded), np.log1p(-bounded))))


def expected_calibration_error(
    outcome: Outcomes, probability: Floats, *, n_bins: int = CALIBRATION_BINS
) -> float:
    """Mean distance between forecast and frequency, over bins of equal width (Guo et al. 2017).

    Each bin counts by its rows. Rows are few in a short window, and noise alone makes the error
    larger, never smaller: about 0.4 sqrt(n_bins / n) for a perfect forecast near one half.

    Parameters
    ----------
    outcome : int or bool [n]
    probability : float64[n]
        Of the outcome being 1.
    n_bins : int

    Raises
    ------
    BadData
        If shapes differ, there is no row, or a probability lies outside [0, 1].
    """
    _require_forecasts(outcome, probability)
    bins = np.minimum((probability * n_bins).astype(np.int64), n_bins - 1)
    gaps = np.bincount(bins, weights=probability - outcome, minlength=n_bins)
    return float(np.sum(np.abs(gaps))) / len(outcome)


def precision_at_k(outcome: Outcomes, score: Floats, k: int) -> float:
    """Share of events among the k rows of the highest score; ties go to the earlier row.

    Raises
    ------
    BadData
        If shapes differ or k is not in [1, n].
    """
    if len(outcome) != len(score) or not 1 <= k <= len(score):
        raise BadData(f"expected 1 <= k <= {len(score)} and as many outcomes, were {k} and {len(outcome)}")
    if math.isnan(float(np.max(score))):
        raise BadData("expected scores, were NaN: leave rows without a forecast out")
    return float(np.mean(outcome[np.argsort(-score, kind="stable")[:k]]))


def _require_forecasts(outcome: Outcomes, probability: Floats) -> None:
    if len(outcome) != len(probability) or len(outcome) == 0:
        raise BadData(f"expected as many outcomes as forecasts, were {len(outcome)} and {len(probability)}")
    if not (np.min(probability) >= 0 and np.max(probability) <= 1):
        raise BadData(
            f"expected probabilities in [0, 1], were {np.min(probability)} to {np.max(probability)}"
        )
