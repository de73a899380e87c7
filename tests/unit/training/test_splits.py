import itertools
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from autotrader.domain.errors import BadData
from autotrader.execution.arrays import Times
from autotrader.training.splits import cscv_blocks, purged_k_fold, walk_forward

START = np.datetime64("2024-01-01T00:00", "us")
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NONE = timedelta(0)


def hourly(days: int, *, horizon: timedelta = HOUR, instruments: int = 1) -> tuple[Times, Times]:
    ts = np.repeat(START + np.arange(days * 24) * np.timedelta64(1, "h"), instruments)
    return ts, ts + np.timedelta64(horizon + HOUR)


def utc(instant: datetime) -> np.datetime64:
    return np.datetime64(instant.replace(tzinfo=None), "us")


@st.composite
def labelled_rows(draw: st.DrawFn) -> tuple[Times, Times]:
    """Rows of several instruments at shared, irregular instants, each with a label of its own length."""
    seed = draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    instruments, n = draw(st.integers(1, 5)), draw(st.integers(20, 150))
    instants = np.sort(rng.choice(2_000, n, replace=False))
    minutes = np.repeat(instants, instruments)[rng.random(n * instruments) < 0.8]
    assume(len(minutes) > 10)
    ts = START + minutes * np.timedelta64(1, "m")
    return ts, ts + rng.integers(1, draw(st.sampled_from([2, 60, 500])), len(ts)) * np.timedelta64(1, "m")


minutes = st.integers(40, 900).map(lambda m: timedelta(minutes=m))
embargoes = st.integers(0, 200).map(lambda m: timedelta(minutes=m))


def test_test_blocks_tile_the_evaluation_window() -> None:
    ts, end_ts = hourly(30)
    folds = walk_forward(ts, end_ts, train=10 * DAY, test=2 * DAY, evaluation=6 * DAY, embargo=NONE)
    assert [len(f.test) for f in folds] == [48, 48, 48]
    assert np.concatenate([f.test for f in folds]).tolist() == list(range(24 * 24, 30 * 24))


def test_each_fold_learns_from_the_window_before_its_own_test() -> None:
    ts, end_ts = hourly(30)
    for fold in walk_forward(ts, end_ts, train=10 * DAY, test=2 * DAY, evaluation=6 * DAY, embargo=HOUR):
        assert fold.test_start - fold.train_start == 10 * DAY
        assert fold.train_end == fold.test_start - HOUR
        assert ts[fold.train[0]] == utc(fold.train_start)


def test_labels_that_reach_into_the_test_are_purged() -> None:
    ts, end_ts = hourly(30, horizon=5 * HOUR)
    (fold,) = walk_forward(ts, end_ts, train=10 * DAY, test=2 * DAY, evaluation=2 * DAY, embargo=NONE)
    # The window's last rows are 1 to 5 hours before the test, their labels 6 hours long.
    assert fold.test[0] - fold.train[-1] == 6


def test_a_short_history_leaves_what_follows_the_first_training_window() -> None:
    ts, end_ts = hourly(107)
    folds = walk_forward(ts, end_ts, train=90 * DAY, test=7 * DAY, evaluation=730 * DAY, embargo=NONE)
    assert folds[0].test_start == datetime(2024, 3, 31, tzinfo=UTC)
    assert [len(f.test) // 24 for f in folds] == [7, 7, 3]


def test_a_history_without_room_for_a_fold_is_refused_with_what_it_lacks() -> None:
    ts, end_ts = hourly(20)
    with pytest.raises(BadData, match="expected more than 90 days"):
        walk_forward(ts, end_ts, train=90 * DAY, test=DAY, evaluation=730 * DAY, embargo=NONE)


@settings(max_examples=50)
@given(rows=labelled_rows(), train=minutes, test=minutes, evaluation=minutes, embargo=embargoes)
def test_walk_forward_never_lets_training_see_a_test(
    rows: tuple[Times, Times],
    train: timedelta,
    test: timedelta,
    evaluation: timedelta,
    embargo: timedelta,
) -> None:
    ts, end_ts = rows
    try:
        folds = walk_forward(ts, end_ts, train=train, test=test, evaluation=evaluation, embargo=embargo)
    except BadData:
        assume(False)
    for fold in folds:
        assert len(fold.train)
        assert len(fold.test)
        assert np.all(end_ts[fold.train] <= utc(fold.test_start - embargo))
        assert np.all(end_ts[fold.train] <= ts[fold.test].min())
        assert np.all(ts[fold.train] >= utc(fold.train_start))
        assert np.all((utc(fold.test_start) <= ts[fold.test]) & (ts[fold.test] < utc(fold.test_end)))
        # All that could be used is used: rows outside were in the way, or out of the window.
        window = (ts >= utc(fold.train_start)) & (ts < utc(fold.test_start))
        assert np.array_equal(np.flatnonzero(window & (end_ts <= utc(fold.train_end))), fold.train)
    tested = np.concatenate([f.test for f in folds])
    assert np.all(np.diff(tested) > 0)
    assert all(a.test_end <= b.test_start for a, b in itertools.pairwise(folds))
    assert np.all(ts[tested] > ts[-1] - np.timedelta64(evaluation))


@settings(max_examples=50)
@given(rows=labelled_rows(), n_splits=st.integers(2, 8), embargo=embargoes)
def test_k_fold_never_lets_a_training_label_touch_a_test_label(
    rows: tuple[Times, Times], n_splits: int, embargo: timedelta
) -> None:
    ts, end_ts = rows
    try:
        folds = purged_k_fold(ts, end_ts, n_splits=n_splits, embargo=embargo)
    except BadData:
        assume(False)
    assert np.concatenate([f.test for f in folds]).tolist() == list(range(len(ts)))
    for fold in folds:
        begin, end = ts[fold.test].min(), end_ts[fold.test].max()
        before = end_ts[fold.train] <= begin
        after = ts[fold.train] >= end + np.timedelta64(embargo)
        assert np.all(before | after)
        assert not set(ts[fold.train]) & set(ts[fold.test])
        every = np.flatnonzero((end_ts <= begin) | (ts >= end + np.timedelta64(embargo)))
        assert np.array_equal(every, fold.train)


def test_rows_of_one_instant_are_never_split() -> None:
    ts, end_ts = hourly(2, instruments=3)
    for fold in purged_k_fold(ts, end_ts, n_splits=5, embargo=NONE):
        assert len(fold.test) % 3 == 0


def test_rows_that_are_not_sorted_or_have_no_label_are_refused() -> None:
    ts, end_ts = hourly(20)
    nat = end_ts.copy()
    nat[3] = np.datetime64("NaT", "us")
    for wrong, message in [
        ((ts[::-1], end_ts[::-1]), "sorted"),
        ((ts, nat), "NaT"),
        ((ts, ts), "end after its bar opens"),
        ((ts, end_ts[:-1]), "a label end for each"),
    ]:
        with pytest.raises(BadData, match=message):
            walk_forward(*wrong, train=DAY, test=DAY, evaluation=DAY, embargo=NONE)
        with pytest.raises(BadData, match=message):
            purged_k_fold(*wrong, n_splits=3, embargo=NONE)


def test_parameters_out_of_range_are_refused() -> None:
    ts, end_ts = hourly(20)
    with pytest.raises(BadData, match="spans above zero"):
        walk_forward(ts, end_ts, train=DAY, test=NONE, evaluation=DAY, embargo=NONE)
    with pytest.raises(BadData, match="no negative embargo"):
        walk_forward(ts, end_ts, train=DAY, test=DAY, evaluation=DAY, embargo=-HOUR)
    with pytest.raises(BadData, match="2 or more splits"):
        purged_k_fold(ts, end_ts, n_splits=1, embargo=NONE)
    with pytest.raises(BadData, match="at least 3 labelled rows"):
        purged_k_fold(ts[:2], end_ts[:2], n_splits=3, embargo=NONE)
    with pytest.raises(BadData, match="expected labelled rows"):
        walk_forward(ts[:0], end_ts[:0], train=DAY, test=DAY, evaluation=DAY, embargo=NONE)
    with pytest.raises(BadData, match="clear of the test"):
        purged_k_fold(ts, end_ts + np.timedelta64(100 * DAY), n_splits=2, embargo=NONE)


@settings(max_examples=60)
@given(periods=st.integers(4, 500), half=st.integers(1, 10))
def test_cscv_blocks_are_equal_and_end_with_the_newest_period(periods: int, half: int) -> None:
    assume(periods // (2 * half) >= 2)
    blocks = cscv_blocks(periods, 2 * half)
    assert {b.stop - b.start for b in blocks} == {periods // (2 * half)}
    assert blocks[-1].stop == periods
    assert all(a.stop == b.start for a, b in itertools.pairwise(blocks))


@pytest.mark.parametrize(("periods", "blocks"), [(100, 3), (100, 0), (7, 4), (100, -2)])
def test_blocks_that_cannot_be_halved_or_filled_are_refused(periods: int, blocks: int) -> None:
    with pytest.raises(BadData, match="even number of blocks"):
        cscv_blocks(periods, blocks)
