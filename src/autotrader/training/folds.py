"""One fold of the walk-forward: a model of the window before, and its forecasts of the rows after.

Beside it a model of the same recipe learns from shuffled labels: what that one earns, or seems to
know, is what the method finds where there is nothing to find.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import structlog

from autotrader.execution.arrays import Floats
from autotrader.execution.strategy import StrategyRules, score_of
from autotrader.training.calibration import Calibration, Probabilities
from autotrader.training.dataset import Dataset, Rows
from autotrader.training.export import ModelFiles, export_model
from autotrader.training.fitting import FittedModel, Recipe, fit_model
from autotrader.training.results import Results
from autotrader.training.skill import direction_area, error_by_shifts, log_loss
from autotrader.training.splits import Fold

log = structlog.get_logger(__name__)

FORECASTS_FILE = "forecasts.npz"


@dataclass(frozen=True, slots=True)
class FoldResult:
    """A fold, in figures.

    Attributes
    ----------
    number : int
    train_start, train_end, test_start, test_end : datetime
        As in `splits.Fold`.
    known_until : datetime
        When the newest training label was known; before `test_start` by the embargo, or there is
        a leak.
    fitted_rows, calibration_rows, test_rows : int
    calibration : Calibration
    entry_score : float
    log_loss, direction_auc : float
        Of the test rows; the area is None where prices only rose, or only fell.
    shuffled_auc, shuffled_auc_error : float or None
        Of the model of shuffled labels, before calibration; the error is that of moving forecasts
        and outcomes apart in time.
    files : ModelFiles or None
        Of the last fold: the model that may be registered.
    """

    number: int
    train_start: datetime
    train_end: datetime
    test_start: datetime
    test_end: datetime
    known_until: datetime
    fitted_rows: int
    calibration_rows: int
    test_rows: int
    calibration: Calibration
    entry_score: float
    log_loss: float
    direction_auc: float | None
    shuffled_auc: float | None
    shuffled_auc_error: float | None
    files: ModelFiles | None = None


@dataclass(frozen=True, eq=False)
class Forecasts:
    """Forecasts of rows by models that had not seen them; one element a row.

    Attributes
    ----------
    rows : int64[k]
        In the data set, increasing.
    probabilities : float64[k, 3]
        Calibrated, of -1, 0, +1.
    entry_score : float64[k]
        Threshold of the model that made the forecast.
    """

    rows: Rows
    probabilities: Probabilities
    entry_score: Floats

    @property
    def score(self) -> Floats:
        return score_of(self.probabilities)

    @classmethod
    def joined(cls, parts: list[Forecasts]) -> Forecasts:
        """Of consecutive folds, in order."""
        return cls(
            np.concatenate([p.rows for p in parts]),
            np.concatenate([p.probabilities for p in parts]),
            np.concatenate([p.entry_score for p in parts]),
        )

    def after(self, keep: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Forecasts:
        """Those of the rows that `keep` marks."""
        return Forecasts(self.rows[keep], self.probabilities[keep], self.entry_score[keep])


def run_fold(
    data: Dataset,
    fold: Fold,
    number: int,
    recipe: Recipe,
    *,
    rules: StrategyRules,
    results: Results,
    name: str,
    export_as: Mapping[str, str] | None,
) -> FoldResult:
    """Make the fold's models and forecasts, or find them in the results.

    Parameters
    ----------
    data : Dataset
    fold : Fold
    number : int
    recipe : Recipe
    rules : StrategyRules
    results : Results
    name : str
        Of the fold in them.
    export_as : Mapping[str, str] or None
        Metadata of the model's files; None exports none.
    """
    existing = results.stored(name, FoldResult)
    if existing is not None:
        return existing
    model = fit_model(data, fold.train, recipe, rules=rules)
    generator = np.random.default_rng([recipe.seed, number])
    shuffled = fit_model(
        data, fold.train, recipe, rules=rules, label=generator.permutation(data.label[fold.train])
    )
    features, label = data.features[fold.test], data.label[fold.test]
    probabilities = model.probabilities(features)
    raw_of_shuffled = shuffled.classifier.probabilities(features)
    shuffled_score = score_of(raw_of_shuffled)
    with results.published(name) as staging:
        np.savez(
            staging / FORECASTS_FILE,
            rows=fold.test,
            probabilities=probabilities,
            entry_score=np.full(len(label), model.entry_score),
            shuffled_probabilities=shuffled.calibration.apply(raw_of_shuffled),
            shuffled_entry_score=np.full(len(label), shuffled.entry_score),
            importance=model.classifier.importance(),
        )
        files = None
        if export_as is not None:
            made = export_model(
                model.classifier,
                model.calibration,
                staging,
                feature_names=data.prepared.feature_names,
                metadata={**export_as, **_decision_metadata(model)},
            )
            files = replace(
                made,
                onnx_path=str(results.folder / name / Path(made.onnx_path).name),
                native_path=str(results.folder / name / Path(made.native_path).name),
            )
        result = FoldResult(
            number=number,
            train_start=fold.train_start,
            train_end=fold.train_end,
            test_start=fold.test_start,
            test_end=fold.test_end,
            known_until=_utc(model.known_until),
            fitted_rows=model.fitted_rows,
            calibration_rows=model.calibration_rows,
            test_rows=len(label),
            calibration=model.calibration,
            entry_score=model.entry_score,
            log_loss=log_loss(probabilities, label),
            direction_auc=_known(direction_area(label, score_of(probabilities))),
            shuffled_auc=_known(direction_area(label, shuffled_score)),
            shuffled_auc_error=_known(
                error_by_shifts(
                    label,
                    shuffled_score,
                    instants_per_horizon=instants_per_horizon(data),
                    rows_per_instant=rows_per_instant(data),
                    seed=recipe.seed,
                )
            ),
            files=files,
        )
        results.write(staging, result)
    log.info("fold judged", number=number, test_start=fold.test_start.isoformat(), rows=len(label))
    return results.read(name, FoldResult)


def read_forecasts(folder: Path) -> tuple[Forecasts, Forecasts]:
    """Those of a fold's model, and those of its model of shuffled labels."""
    with np.load(folder / FORECASTS_FILE) as file:
        own = Forecasts(file["rows"], file["probabilities"], file["entry_score"])
        return own, Forecasts(file["rows"], file["shuffled_probabilities"], file["shuffled_entry_score"])


def read_importance(folder: Path) -> Floats:
    """float64[f]: how much the fold's model uses each feature, by its own account; sums to 1."""
    with np.load(folder / FORECASTS_FILE) as file:
        importance: Floats = file["importance"]
    return importance


def instants_per_horizon(data: Dataset) -> int:
    """Sampled instants whose labels overlap with one."""
    step = data.prepared.interval.delta * data.prepared.sample_every_bars
    return max(int(data.prepared.horizon / step), 1)


def rows_per_instant(data: Dataset) -> int:
    """Instruments that have rows: about as many rows share an instant."""
    return sum(1 for i in data.prepared.instruments if i.rows) or 1


def _decision_metadata(model: FittedModel) -> dict[str, str]:
    return {
        "entry_score": json.dumps(model.entry_score),
        "known_until": _utc(model.known_until).isoformat(),
    }


def _utc(instant: np.datetime64) -> datetime:
    made: datetime = instant.astype("M8[us]").item()
    return made.replace(tzinfo=UTC)


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
