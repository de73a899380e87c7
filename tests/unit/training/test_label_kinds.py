"""Labels that end when a barrier is touched: in the training set, and where folds are cut."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from autotrader.config.settings import LabelKind, LabelSettings
from autotrader.training.dataset import Dataset, open_dataset
from autotrader.training.integrity import purged_folds
from autotrader.training.splits import Fold
from autotrader.training.windows import embargo_of, evaluation_folds, search_folds
from tests.fakes.small_market import STRATEGY
from tests.fakes.training_run import TRAINING, TrainingRun

HORIZON = np.timedelta64(timedelta(minutes=STRATEGY.horizon_minutes))
BAR = np.timedelta64(STRATEGY.interval.delta)
BARRIER = LabelSettings(
    kind=LabelKind.TRIPLE_BARRIER, profit_multiple=0.6, stop_multiple=0.4, volatility_span_bars=50
)


def with_labels(run: TrainingRun, labels: LabelSettings, work: Path) -> TrainingRun:
    return TrainingRun(run.stores, work, STRATEGY.model_copy(update={"labels": labels}), TRAINING)


@pytest.fixture(scope="module")
def barrier(signal: TrainingRun, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(with_labels(signal, BARRIER, tmp_path_factory.mktemp("barrier")).prepare())


def test_a_label_ends_where_its_barrier_was_touched_and_is_known_a_bar_later(barrier: Dataset) -> None:
    lived = barrier.end_ts - barrier.ts
    assert lived.min() == 2 * BAR
    assert lived.max() == HORIZON + BAR
    assert (lived < HORIZON).mean() > 0.5
    for row in np.random.default_rng(0).choice(len(barrier), 50, replace=False):
        bars = barrier.bars(int(barrier.instrument[row]))
        exit_bar = np.searchsorted(bars.ts, barrier.end_ts[row] - BAR)
        gain = bars.close[exit_bar] / bars.close[barrier.bar[row]] - 1
        assert barrier.forward_return[row] == pytest.approx(gain)


def test_other_labels_are_another_training_set(signal: TrainingRun, barrier: Dataset, tmp_path: Path) -> None:
    plain = signal.prepare()
    wider = with_labels(signal, BARRIER.model_copy(update={"profit_multiple": 0.7}), tmp_path).prepare()
    found = (plain, barrier.prepared, wider)
    assert len({p.key for p in found}) == len({p.sha256 for p in found}) == 3
    assert [p.labels for p in found] == [
        "forward_return",
        "triple_barrier, profit 0.6, stop 0.4, volatility of 50 bars",
        "triple_barrier, profit 0.7, stop 0.4, volatility of 50 bars",
    ]


def leaks(data: Dataset, folds: list[Fold]) -> int:
    """Training labels that were not known yet when their test began, or began before it ended."""
    return sum(
        int(
            (
                (data.end_ts[f.train] > data.ts[f.test].min())
                & (data.ts[f.train] < data.end_ts[f.test].max())
            ).sum()
        )
        for f in folds
    )


def test_folds_are_purged_by_the_instant_at_which_each_label_is_known(barrier: Dataset) -> None:
    embargo = np.timedelta64(embargo_of(barrier))
    for fold in evaluation_folds(barrier, TRAINING):
        begin = np.datetime64(fold.test_start.replace(tzinfo=None))
        assert (barrier.end_ts[fold.train] + embargo <= begin).all()
        # A label that was touched early is learnt from, although its horizon reaches too far.
        early = barrier.ts[fold.train] + HORIZON + BAR + embargo > begin
        assert early.any()
        window = (barrier.ts < begin) & (barrier.end_ts + embargo > begin)
        assert not np.isin(np.flatnonzero(window), fold.train).any()
        assert window.any()
    assert leaks(barrier, search_folds(barrier, TRAINING)) == 0


def test_the_check_of_folds_would_see_labels_purged_by_their_beginning(barrier: Dataset) -> None:
    (first, *_) = evaluation_folds(barrier, TRAINING)
    begin = first.test.min()
    careless = Fold(np.arange(begin), first.test, *(first.train_start,) * 2, first.test_start, first.test_end)
    assert leaks(barrier, [careless]) > 0


def test_a_model_of_barrier_labels_is_judged_sound(signal: TrainingRun, tmp_path: Path) -> None:
    run = with_labels(signal, BARRIER, tmp_path)
    run.training = TRAINING.model_copy(update={"models": ("logistic",), "trials_per_model": 2})
    evaluation, validation = run.evaluate(), run.validate()
    assert validation.is_sound, validation.reasons
    assert purged_folds(evaluation.folds, embargo_of(open_dataset(run.prepare()))).wrong == 0
    assert "triple barrier, profit 0.6, stop 0.4" in Path(validation.report_path).read_text()
    assert {t.data["labels"] for t in run.ledger.trials.values()} == {BARRIER.rule}
    assert not set(run.ledger.trials) & set(signal.ledger.trials)
