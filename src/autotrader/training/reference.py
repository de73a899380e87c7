"""The reference of a model: what its live inputs and predictions will be compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autotrader.domain.errors import BadData
from autotrader.execution.forecasts import measure_forecasts
from autotrader.execution.strategy import score_of
from autotrader.features.definitions import BALANCED, FeatureGroup
from autotrader.features.reference.files import SCORE, About, Baseline, Reference
from autotrader.features.reference.making import make_profile
from autotrader.features.reference.profile import Columns
from autotrader.training.dataset import PreparedData, open_dataset
from autotrader.training.evaluation import CURVES_FILE, Evaluation

_SAMPLE_ROWS = 2_000


def make_reference(prepared: PreparedData, evaluation: Evaluation, *, window_hours: float) -> Reference:
    """Condense the training window of the model that is to be registered.

    Features are those of its own training window. Scores are of rows that the recipe's models had
    not seen: a model is surer of what it learnt than it will ever be again. Calendar features are
    left out: within a day they always drift.

    Parameters
    ----------
    prepared : PreparedData
    evaluation : Evaluation
    window_hours : float
        Of the served features that will be compared with it.

    Raises
    ------
    BadData
        If the training set or the judgement is not what it was.
    """
    data = open_dataset(prepared)
    last = evaluation.folds[-1]
    start, end = (np.datetime64(t.replace(tzinfo=None), "us") for t in (last.train_start, last.train_end))
    window = np.flatnonzero((data.ts >= start) & (data.ts < end))
    names = prepared.feature_names
    kept = [i for i, name in enumerate(names) if BALANCED[name].group is not FeatureGroup.TEMPORAL]
    instruments = [rows.instrument for rows in prepared.instruments]
    with np.load(Path(evaluation.folder) / CURVES_FILE) as file:
        if "rows" not in file:
            raise BadData(f"expected rows in {evaluation.folder}, was without: delete it and run again")
        rows, probabilities, label = file["rows"], file["probabilities"], file["label"]
    score = score_of(probabilities).astype(np.float32)[:, None]
    quality = measure_forecasts(probabilities, label)
    return Reference(
        about=About(
            feature_set=prepared.feature_set,
            start=last.train_start,
            end=last.train_end,
            learnt_until=max(last.train_end, last.known_until),
            interval=prepared.interval,
            horizon_minutes=prepared.horizon_minutes,
            round_trip_cost_bps=prepared.round_trip_cost_bps,
            labels=prepared.labels,
            sources=prepared.sources,
            baseline=Baseline(
                rows=quality.rows,
                start=evaluation.first_ts,
                end=evaluation.last_ts,
                accuracy=quality.accuracy,
                mean_confidence=quality.mean_confidence,
                calibration_error=quality.calibration_error,
            ),
        ),
        features=make_profile(
            data.features[window][:, kept],
            names=[names[i] for i in kept],
            ts=data.ts[window],
            instrument=data.instrument[window],
            instruments=instruments,
            window_hours=window_hours,
        ),
        predictions=make_profile(
            score,
            names=[SCORE],
            ts=data.ts[rows],
            instrument=data.instrument[rows],
            instruments=instruments,
            window_hours=window_hours,
        ),
        sample_names=(*names, SCORE),
        sample=np.concatenate([_evenly(data.features[window]), _evenly(score)], axis=1),
    )


def _evenly(values: Columns) -> Columns:
    """As many rows of every window, from first to last; a short one repeats some."""
    return values[np.linspace(0, len(values) - 1, _SAMPLE_ROWS).astype(np.int64)]
