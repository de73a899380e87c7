"""The frozen training set: what is in it, and that it is the same however it came about."""

from __future__ import annotations

import errno
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from autotrader.command import to_plain
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.domain.errors import BadData, ConfigurationError, NotFound, Rejected
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.features.batch import compute
from autotrader.plain import from_plain
from autotrader.training.dataset import PreparedData, open_dataset
from autotrader.training.preparation import prepare_training_data
from autotrader.training.windows import evaluation_folds
from tests.fakes.holds import InMemoryHolds
from tests.fakes.small_market import INSTRUMENTS, NOW, STRATEGY, Stores, market
from tests.fakes.training_run import TRAINING, TrainingRun


@pytest.fixture
def frames() -> list[pl.DataFrame]:
    return [market(i.symbol, days=20, momentum=0.0, seed=s) for s, i in enumerate(INSTRUMENTS)]


@pytest.fixture
def run(tmp_path: Path, frames: list[pl.DataFrame]) -> TrainingRun:
    return TrainingRun(Stores.filled(tmp_path / "lake", frames), tmp_path / "work")


def test_rows_hold_the_features_of_their_bar_and_the_return_after_it(
    run: TrainingRun, frames: list[pl.DataFrame]
) -> None:
    data = open_dataset(run.prepare())
    horizon = timedelta(minutes=STRATEGY.horizon_minutes) // STRATEGY.interval.delta
    for number, frame in enumerate(frames):
        own = np.flatnonzero(data.instrument == number)
        bar = data.bar[own]
        opens = frame["ts"].dt.replace_time_zone(None).to_numpy()
        assert (opens[bar] == data.ts[own]).all()
        close = frame["close"].to_numpy()
        np.testing.assert_allclose(data.forward_return[own], close[bar + horizon] / close[bar] - 1)
        cost = STRATEGY.round_trip_cost_bps * 1e-4
        gained = data.forward_return[own]
        assert (data.label[own] == (gained > cost).astype(int) - (gained < -cost).astype(int)).all()
        expected = compute(frame).select(data.prepared.feature_names)[bar].to_numpy()
        np.testing.assert_array_equal(data.features[own], expected)


def test_rows_are_in_order_of_time_and_every_dropped_one_is_accounted_for(run: TrainingRun) -> None:
    prepared = run.prepare()
    data = open_dataset(prepared)
    assert (np.diff(data.ts.astype(np.int64)) >= 0).all()
    assert np.isfinite(data.features).all()
    assert sum(prepared.class_counts) == len(data) == prepared.rows
    for i in prepared.instruments:
        assert i.sampled == i.rows + i.without_features + i.warming_up + i.without_label
        assert i.without_label == 4
        assert i.warming_up > 0


def test_sampling_follows_the_clock_not_the_first_row(run: TrainingRun) -> None:
    data = open_dataset(run.prepare())
    minutes = data.ts.astype("M8[m]").astype(np.int64)
    assert (minutes % (5 * TRAINING.sample_every_bars) == 0).all()


def test_the_same_question_is_answered_by_the_same_files(run: TrainingRun) -> None:
    first = run.prepare()
    made = {p.name: p.stat().st_mtime_ns for p in Path(first.folder).iterdir()}
    assert run.prepare() == first
    assert {p.name: p.stat().st_mtime_ns for p in Path(first.folder).iterdir()} == made
    assert from_plain(PreparedData, to_plain(first)) == first


def test_the_versions_that_were_read_are_recorded_and_pinned(run: TrainingRun) -> None:
    prepared = run.prepare()
    version = prepared.data_versions["features"]
    assert run.stores.features.rows.pinned() == {version: [f"training-{prepared.key}"]}
    assert set(prepared.data_versions) == {"bars", "features"}


def test_a_changed_file_is_noticed(run: TrainingRun) -> None:
    prepared = run.prepare()
    path = Path(prepared.folder) / "features.npy"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadData, match="prepare it again"):
        open_dataset(prepared)


def test_history_that_is_too_short_is_one_clear_error(run: TrainingRun) -> None:
    run.training = TRAINING.model_copy(update={"lookback_days": 18, "fold_days": 4})
    with pytest.raises(ConfigurationError, match=r"expected 22 days of history .* was 19.0"):
        run.prepare()


def test_a_window_of_one_fold_is_enough_where_there_is_more_history(run: TrainingRun) -> None:
    run.training = TRAINING.model_copy(update={"lookback_days": 8, "evaluation_days": 4, "fold_days": 4})
    data = open_dataset(run.prepare())
    (fold,) = evaluation_folds(data, run.training)
    assert fold.test_end - fold.test_start == timedelta(days=4)


def test_a_window_shorter_than_a_fold_is_a_mistake_of_the_settings(run: TrainingRun) -> None:
    run.training = TRAINING.model_copy(update={"evaluation_days": 3, "fold_days": 4})
    with pytest.raises(ConfigurationError, match="expected evaluation_days of 4 or more") as caught:
        run.prepare()
    assert "\n" not in str(caught.value)
    assert not (run.work / "dataset").exists()


def test_an_empty_lake_says_what_to_do(tmp_path: Path) -> None:
    stores = Stores.filled(tmp_path / "other", [])
    empty = replace(stores, bars=BarStore(Lake(str(tmp_path / "none")), InMemoryHolds()))
    with pytest.raises(NotFound, match="run data_pipeline first"):
        TrainingRun(empty, tmp_path / "work").prepare()


def test_an_instrument_without_bars_is_named_and_left_out(run: TrainingRun) -> None:
    unknown = InstrumentId(Venue.BINANCE, "XYZUSDT")
    prepared = prepare_training_data(
        bars=run.stores.bars,
        features=run.stores.features,
        instruments=[*INSTRUMENTS, unknown],
        strategy=STRATEGY,
        training=TRAINING,
        as_of=NOW,
        results=run.results,
    )
    assert prepared.left_out == {"binance:XYZUSDT": "no bars in the window"}
    assert len(prepared.instruments) == 2


def test_features_that_no_instrument_has_are_left_out_of_the_matrix(
    tmp_path: Path, frames: list[pl.DataFrame]
) -> None:
    without = [f.with_columns(taker_buy_base=pl.lit(None, pl.Float64)) for f in frames]
    prepared = TrainingRun(Stores.filled(tmp_path / "lake2", without), tmp_path / "work2").prepare()
    assert prepared.empty_features == ("taker_buy_share_20",)
    assert open_dataset(prepared).features.shape == (prepared.rows, len(prepared.feature_names))


def test_bars_that_were_not_known_yet_are_not_there(run: TrainingRun) -> None:
    earlier = prepare_training_data(
        bars=run.stores.bars,
        features=run.stores.features,
        instruments=INSTRUMENTS,
        strategy=STRATEGY,
        training=TRAINING,
        as_of=NOW - timedelta(days=1),
        results=run.results,
    )
    last = open_dataset(earlier).end_ts.max()
    assert last <= np.datetime64((NOW - timedelta(days=1)).replace(tzinfo=None))


def test_a_full_disk_is_one_line_and_leaves_nothing(
    run: TrainingRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        with pytest.raises(Rejected, match="the disk is full"):
            run.prepare()
    assert list((run.work / "dataset").iterdir()) == []
    assert run.prepare().rows > 0


class Killed(BaseException):
    """Stands for an end that no code can catch."""


def test_a_preparation_cut_short_leaves_nothing_and_is_done_again(
    run: TrainingRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = TrainingRun(run.stores, tmp_path / "elsewhere").prepare()
    read = run.stores.features.training_frame
    asked: list[object] = []

    def dies_at_the_second(*args: object, **kwargs: object) -> pl.DataFrame:
        asked.append(args)
        if len(asked) == 2:
            raise Killed
        return read(*args, **kwargs)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(run.stores.features, "training_frame", dies_at_the_second)
        with pytest.raises(Killed):
            run.prepare()
    assert [p for p in (run.work / "dataset").iterdir() if not p.name.startswith(".")] == []
    assert run.prepare().sha256 == whole.sha256
