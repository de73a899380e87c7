"""One way to make a model of a window: fit, calibrate, choose the threshold; nothing sees the test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from autotrader.domain.errors import BadData
from autotrader.execution.strategy import StrategyRules, score_of
from autotrader.training.calibration import Calibration, Probabilities, fit_calibration
from autotrader.training.classifiers import Classifier, Features, Labels, Parameters
from autotrader.training.dataset import Dataset, Rows
from autotrader.training.models import family
from autotrader.training.strategy import choose_entry_score

# The newest part of a training window calibrates the model and chooses its threshold.
CALIBRATION_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is made, the rows apart.

    Attributes
    ----------
    family : str
    parameters : Mapping
        As the family's search space names them.
    seed, threads : int
    maximum_rows : int or None
        Rows beyond are thinned evenly in time; None takes all.
    """

    family: str
    parameters: Parameters
    seed: int
    threads: int = 1
    maximum_rows: int | None = None


@dataclass(frozen=True, slots=True)
class FittedModel:
    """A model, ready to be judged.

    Attributes
    ----------
    classifier : Classifier
    calibration : Calibration
    entry_score : float
        Size of score from which a position is opened.
    fitted_rows, calibration_rows : int
    known_until : numpy.datetime64
        When the newest label that went into it was known.
    """

    classifier: Classifier
    calibration: Calibration
    entry_score: float
    fitted_rows: int
    calibration_rows: int
    known_until: np.datetime64

    def probabilities(self, features: Features) -> Probabilities:
        """float64[n, 3]: calibrated, of -1, 0, +1."""
        return self.calibration.apply(self.classifier.probabilities(features))


def fit_model(
    data: Dataset,
    rows: Rows,
    recipe: Recipe,
    *,
    rules: StrategyRules,
    label: Labels | None = None,
) -> FittedModel:
    """Make a model of these rows alone.

    The older rows fit it. The newest 15 % of the time calibrate it and choose its threshold; labels
    that reach into that part are purged from the older.

    Parameters
    ----------
    data : Dataset
    rows : int64[k]
        A fold's training rows, increasing.
    recipe : Recipe
    rules : StrategyRules
    label : int8[k] or None
        In place of the data's own: a baseline learns from shuffled labels.

    Raises
    ------
    BadData
        If a class is missing on either side.
    """
    label = data.label[rows] if label is None else label
    ts = data.ts[rows]
    cut = ts[0] + _share(ts[-1] - ts[0], 1 - CALIBRATION_SHARE)
    older = np.flatnonzero(data.end_ts[rows] <= cut)
    newer = np.flatnonzero(ts >= cut)
    if len(older) == 0 or len(newer) == 0:
        raise BadData(f"expected rows on both sides of {cut}, were {len(older)} and {len(newer)}")
    older = _thinned(older, recipe.maximum_rows)
    classifier = family(recipe.family).build(recipe.parameters, recipe.seed, recipe.threads)
    classifier.fit(data.features[rows[older]], label[older])
    raw = classifier.probabilities(data.features[rows[newer]])
    calibration = fit_calibration(raw, label[newer])
    score = score_of(calibration.apply(raw))
    return FittedModel(
        classifier=classifier,
        calibration=calibration,
        entry_score=choose_entry_score(data, rows[newer], score, rules=rules),
        fitted_rows=len(older),
        calibration_rows=len(newer),
        known_until=np.max(data.end_ts[rows]),
    )


def _thinned(rows: Rows, most: int | None) -> Rows:
    if most is None or len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def _share(span: Any, share: float) -> np.timedelta64:
    return np.timedelta64(int(span / np.timedelta64(1, "us") * share), "us")
