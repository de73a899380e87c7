"""Evidence of integrity: that the model is what it claims to be, whatever it is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autotrader.registry.onnx_model import OnnxModel
from autotrader.training.classifiers import CLASSES, Features
from autotrader.training.dataset import Dataset
from autotrader.training.export import ModelFiles, OnnxEquality, compare_copies
from autotrader.training.feature_checks import check_features
from autotrader.training.folds import FoldResult

if TYPE_CHECKING:
    from autotrader.data.bars import BarStore

# A model of shuffled labels is no better than chance, give or take this, or this many errors.
SHUFFLED_TOLERANCE = 0.02
SHUFFLED_ERRORS = 4.0

_ROWS_AT_A_TIME = 65_536


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what it looked at, how many things were wrong, and what it saw in a sentence."""

    check: str
    wrong: int
    statement: str


@dataclass(frozen=True, slots=True)
class Integrity:
    """What all checks found.

    Attributes
    ----------
    leakage, schema : tuple of Finding
    parity_difference : float
        As `feature_checks.FeatureChecks`.
    parity_statement : str
    onnx : OnnxEquality
    """

    leakage: tuple[Finding, ...]
    schema: tuple[Finding, ...]
    parity_difference: float | None
    parity_statement: str
    onnx: OnnxEquality

    @property
    def leaks(self) -> int:
        return sum(f.wrong for f in self.leakage)

    @property
    def schema_mismatches(self) -> int:
        return sum(f.wrong for f in self.schema)


def gather_integrity(
    data: Dataset,
    *,
    folds: Sequence[FoldResult],
    files: ModelFiles,
    embargo: timedelta,
    bars: BarStore,
) -> Integrity:
    """Run every check.

    Parameters
    ----------
    data : Dataset
        That the model learnt from.
    folds : sequence of FoldResult
    files : ModelFiles
    embargo : timedelta
        That every fold must keep.
    bars : BarStore
        Read again, independently of the features that were stored.

    Raises
    ------
    BadData
        If a file of the model is not readable as what it is.
    """
    features = check_features(data, bars)
    return Integrity(
        leakage=(
            Finding("features", len(features.leaks), features.leakage_statement),
            purged_folds(folds, embargo),
            shuffled_labels(folds),
        ),
        schema=(matrix_schema(data), onnx_schema(data, files)),
        parity_difference=features.parity_difference,
        parity_statement=features.parity_statement,
        onnx=compare_copies(files, _last_rows(data)),
    )


def purged_folds(folds: Sequence[FoldResult], embargo: timedelta) -> Finding:
    """No label that a fold learnt from was still open when its test began, embargo included."""
    leaking = [f.number for f in folds if f.known_until + embargo > f.test_start]
    closest = min(f.test_start - f.known_until for f in folds)
    return Finding(
        "purged folds",
        len(leaking),
        f"folds {leaking} learnt labels from their own test window"
        if leaking
        else f"{len(folds)} folds; the newest training label was known {closest} before its test began",
    )


def shuffled_labels(folds: Sequence[FoldResult]) -> Finding:
    """Models of shuffled labels tell rises from falls no better, and no worse, than chance."""
    areas = [f for f in folds if f.shuffled_auc is not None and f.shuffled_auc_error is not None]
    if not areas:
        return Finding("shuffled labels", 1, "no fold has both rises and falls to tell apart")
    mean = float(np.mean([f.shuffled_auc for f in areas if f.shuffled_auc is not None]))
    error = float(np.sqrt(sum((f.shuffled_auc_error or 0.0) ** 2 for f in areas)) / len(areas))
    tolerance = max(SHUFFLED_TOLERANCE, SHUFFLED_ERRORS * error)
    return Finding(
        "shuffled labels",
        int(abs(mean - 0.5) > tolerance),
        f"models of shuffled labels have an area of {mean:.3f}; chance is 0.5 within {tolerance:.3f} "
        f"(the greater of {SHUFFLED_TOLERANCE} and {SHUFFLED_ERRORS:.0f} errors of {error:.3f})",
    )


def matrix_schema(data: Dataset) -> Finding:
    """Columns are the feature set's, in its order; values finite float32; labels of three classes."""
    from autotrader.features.definitions import BALANCED

    prepared = data.prepared
    expected = tuple(n for n in BALANCED.names if n not in prepared.empty_features)
    wrong = [n for n, m in zip(expected, prepared.feature_names, strict=False) if n != m]
    count = len(wrong) + abs(len(expected) - len(prepared.feature_names))
    count += prepared.feature_set != BALANCED.version
    count += data.features.dtype != np.float32
    count += data.features.shape != (len(data), len(prepared.feature_names))
    for begin in range(0, len(data), _ROWS_AT_A_TIME):
        block = data.features[begin : begin + _ROWS_AT_A_TIME]
        count += int((~np.isfinite(block)).any(axis=0).sum())
    count += not set(np.unique(data.label).tolist()) <= set(CLASSES)
    return Finding(
        "training matrix",
        int(count),
        f"{len(expected)} columns of {prepared.feature_set}, {len(data):,} rows of finite float32"
        if not count
        else f"{int(count)} differences from {BALANCED.version}, columns first: {wrong[:5]}",
    )


def onnx_schema(data: Dataset, files: ModelFiles) -> Finding:
    """The model's input columns are the training matrix's, by name and in order."""
    names = OnnxModel(Path(files.onnx_path)).feature_names
    expected = data.prepared.feature_names
    wrong = sum(a != b for a, b in zip(names, expected, strict=False)) + abs(len(names) - len(expected))
    return Finding("model input", wrong, f"{len(names)} inputs, {wrong} unlike the training matrix's columns")


def _last_rows(data: Dataset) -> Features:
    """Real rows to compare the copies on: the newest, up to 50,000."""
    return np.ascontiguousarray(data.features[-50_000:])
