"""Which rows learn, which rows judge: the folds of evaluation, and the inner ones of the search."""

from __future__ import annotations

from datetime import timedelta

from autotrader.config.settings import TrainingSettings
from autotrader.training.dataset import Dataset
from autotrader.training.splits import Fold, purged_k_fold, walk_forward

SEARCH_FOLDS = 3


def embargo_of(data: Dataset) -> timedelta:
    """Between what is learnt from and what is judged: as long as a feature remembers."""
    return data.prepared.feature_lookback * data.prepared.interval.delta


def evaluation_folds(data: Dataset, training: TrainingSettings) -> list[Fold]:
    """Walk-forward folds over `evaluation_days`, or as much of it as there is.

    Raises
    ------
    BadData
        If there is no room for one fold.
    """
    return walk_forward(
        data.ts,
        data.end_ts,
        train=timedelta(days=training.lookback_days),
        test=timedelta(days=training.fold_days),
        evaluation=timedelta(days=training.evaluation_days),
        embargo=embargo_of(data),
    )


def search_folds(data: Dataset, training: TrainingSettings) -> list[Fold]:
    """Purged folds inside the first training window: all that a search may look at.

    Row numbers are those of the data set.

    Raises
    ------
    BadData
        As `evaluation_folds`.
    """
    window = evaluation_folds(data, training)[0].train
    inner = purged_k_fold(
        data.ts[window], data.end_ts[window], n_splits=SEARCH_FOLDS, embargo=embargo_of(data)
    )
    return [
        Fold(window[f.train], window[f.test], f.train_start, f.train_end, f.test_start, f.test_end)
        for f in inner
    ]
