"""The checks of integrity find what they are for: each is given a run with the fault planted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from autotrader.training.dataset import Dataset, PreparedData, content_files, content_sha256, open_dataset
from autotrader.training.feature_checks import check_features
from autotrader.training.integrity import (
    gather_integrity,
    matrix_schema,
    onnx_schema,
    purged_folds,
    shuffled_labels,
)
from autotrader.training.windows import embargo_of
from tests.fakes.training_run import TrainingRun


def spoilt(run: TrainingRun, folder: Path, change: Callable[[np.ndarray, Dataset], None]) -> Dataset:
    """The run's training set with other features, whose digest fits: nobody noticed on the way."""
    data = open_dataset(run.prepare())
    features = np.array(data.features)
    change(features, data)
    for path in content_files(Path(data.prepared.folder), len(data.prepared.instruments)):
        (folder / path.name).write_bytes(path.read_bytes())
    np.save(folder / "features.npy", features)
    digest = content_sha256(content_files(folder, len(data.prepared.instruments)))
    prepared: PreparedData = replace(data.prepared, folder=str(folder), sha256=digest)
    return open_dataset(prepared)


def test_an_honest_run_is_sound(signal: TrainingRun) -> None:
    data = open_dataset(signal.prepare())
    evaluation = signal.evaluate()
    found = gather_integrity(
        data,
        folds=evaluation.folds,
        files=evaluation.files,
        embargo=embargo_of(data),
        bars=signal.stores.bars,
    )
    assert (found.leaks, found.schema_mismatches, found.parity_difference) == (0, 0, 0.0)
    assert found.onnx.equal


def test_a_feature_that_knows_the_future_is_found(signal: TrainingRun, tmp_path: Path) -> None:
    def plant(features: np.ndarray, data: Dataset) -> None:
        features[:, 3] = data.forward_return

    found = check_features(spoilt(signal, tmp_path, plant), signal.stores.bars)
    assert found.parity_difference is not None
    assert found.parity_difference > 0.1


def test_features_of_the_next_row_are_found(signal: TrainingRun, tmp_path: Path) -> None:
    def shift(features: np.ndarray, data: Dataset) -> None:
        features[:-2] = features[2:].copy()

    found = check_features(spoilt(signal, tmp_path, shift), signal.stores.bars)
    assert found.parity_difference is not None
    assert found.parity_difference > 1e-3


def test_a_fold_whose_labels_reach_into_its_test_is_found(signal: TrainingRun) -> None:
    folds = signal.evaluate().folds
    embargo = embargo_of(open_dataset(signal.prepare()))
    assert purged_folds(folds, embargo).wrong == 0
    late = replace(folds[1], known_until=folds[1].test_start - embargo + timedelta(minutes=5))
    found = purged_folds([folds[0], late, folds[2]], embargo)
    assert (found.wrong, "folds [1]" in found.statement) == (1, True)


@pytest.mark.parametrize(("area", "wrong"), [(0.5, 0), (0.53, 0), (0.6, 1), (0.4, 1), (None, 1)])
def test_a_model_of_shuffled_labels_that_knows_something_is_found(
    signal: TrainingRun, area: float | None, wrong: int
) -> None:
    folds = [replace(f, shuffled_auc=area, shuffled_auc_error=0.015) for f in signal.evaluate().folds]
    assert shuffled_labels(folds).wrong == wrong


def test_columns_in_another_order_are_found(signal: TrainingRun) -> None:
    data = open_dataset(signal.prepare())
    assert matrix_schema(data).wrong == 0
    names = data.prepared.feature_names
    swapped = replace(data.prepared, feature_names=(names[1], names[0], *names[2:]))
    assert matrix_schema(replace(data, prepared=swapped)).wrong == 2
    files = signal.evaluate().files
    assert onnx_schema(data, files).wrong == 0
    assert onnx_schema(replace(data, prepared=swapped), files).wrong == 2


def test_a_value_that_is_missing_is_found(signal: TrainingRun, tmp_path: Path) -> None:
    def hole(features: np.ndarray, data: Dataset) -> None:
        features[7, 5] = np.nan

    assert matrix_schema(spoilt(signal, tmp_path, hole)).wrong == 1
