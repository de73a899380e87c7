"""The live path gives the batch's numbers, bit for bit, from the last bars alone."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from numpy.typing import DTypeLike

from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData
from autotrader.features.batch import BarArrays, compute_arrays
from autotrader.features.definitions import BALANCED, FeatureSet
from autotrader.features.live import LiveFeatures, newest_features
from tests import real_data
from tests.unit.features.market import same_bits, walk, with_gaps


def each_bar(arrays: BarArrays) -> list[tuple[int, float, float, float, float, float]]:
    columns = (arrays.ts, arrays.high, arrays.low, arrays.close, arrays.volume, arrays.taker_buy)
    return list(zip(*(c.tolist() for c in columns), strict=True))


def stacked(arrays: BarArrays) -> np.ndarray:
    return np.array([arrays.high, arrays.low, arrays.close, arrays.volume, arrays.taker_buy])


def assert_parity(bars: pl.DataFrame, dtype: DTypeLike) -> None:
    arrays = BarArrays.from_frame(bars)
    live = LiveFeatures(arrays.interval, dtype=dtype)
    rows = np.array([live.update(*bar) for bar in each_bar(arrays)]).T
    batch = compute_arrays(arrays, dtype=dtype)
    for name, one, other in zip(BALANCED.names, rows, batch, strict=True):
        assert same_bits(one, other), name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_feature_of_every_real_bar_is_bit_identical(dtype: DTypeLike) -> None:
    assert_parity(real_data.bars("BTCUSDT", days=4), dtype)


@pytest.mark.parametrize("kept", [0.9, 0.4, 0.05])
def test_parity_holds_where_bars_are_missing(kept: float) -> None:
    assert_parity(with_gaps(walk(6_000), kept=kept), np.float64)


def test_parity_holds_where_values_are_missing() -> None:
    holes = pl.Series(np.random.default_rng(1).random(3_000) < 0.002)
    bars = walk(3_000).with_columns(
        pl.when(holes).then(float("nan")).otherwise("close").alias("close"),
        pl.when(holes.shift(50, fill_value=False)).then(None).otherwise("volume").alias("volume"),
    )
    assert_parity(bars, np.float64)


def test_the_last_bars_are_enough_and_more_change_nothing() -> None:
    arrays = BarArrays.from_frame(with_gaps(walk(3_000), kept=0.8))
    batch = compute_arrays(arrays)
    columns = stacked(arrays)
    for end in (279, 500, 1003, len(arrays)):
        for count in (BALANCED.lookback, min(1000, end)):
            span = slice(end - count, end)
            row = newest_features(arrays.ts[span], columns[:, span], Interval.M1)
            assert same_bits(row, batch[:, end - 1]), (end, count)


def test_a_process_that_starts_anew_continues_as_if_it_had_not_stopped() -> None:
    arrays = BarArrays.from_frame(walk(1_000))
    bars = each_bar(arrays)
    batch = compute_arrays(arrays)
    live = LiveFeatures(Interval.M1)
    for bar in bars[500 - BALANCED.lookback + 1 : 500]:
        live.append(*bar)
    assert len(live) == BALANCED.lookback - 1
    for i in range(500, 1_000):
        assert same_bits(live.update(*bars[i]), batch[:, i]), i


def test_a_bar_out_of_order_is_refused_and_changes_nothing() -> None:
    arrays = BarArrays.from_frame(walk(400))
    bars = each_bar(arrays)
    live = LiveFeatures(Interval.M1)
    for bar in bars[:399]:
        live.append(*bar)
    for wrong in (bars[398], bars[100], (bars[398][0] + 30_000_000, *bars[398][1:])):
        with pytest.raises(BadData, match="or later"):
            live.update(*wrong)
    assert same_bits(live.update(*bars[399]), compute_arrays(arrays)[:, 399])


def test_rows_that_were_given_out_do_not_change_later() -> None:
    bars = each_bar(BarArrays.from_frame(walk(300)))
    live = LiveFeatures(Interval.M1)
    for bar in bars[:298]:
        live.append(*bar)
    row = live.update(*bars[298])
    kept = row.copy()
    live.update(*bars[299])
    assert same_bits(row, kept)


def test_a_feature_set_chooses_and_orders_the_values() -> None:
    some = FeatureSet("some-v1", (BALANCED["zscore_20"], BALANCED["hour"]))
    arrays = BarArrays.from_frame(walk(300))
    row = newest_features(arrays.ts, stacked(arrays), Interval.M1, some)
    whole = newest_features(arrays.ts, stacked(arrays), Interval.M1)
    assert row.tolist() == [whole[BALANCED.names.index(n)] for n in ("zscore_20", "hour")]


def test_no_bars_give_no_features() -> None:
    with pytest.raises(BadData, match="at least one bar"):
        newest_features(np.empty(0, np.int64), np.empty((5, 0)), Interval.M1)


@pytest.mark.integration
def test_a_trading_process_needs_no_frames() -> None:
    code = (
        "import sys, autotrader.features.live; "
        "print([m for m in ('polars', 'pandas', 'pyarrow', 'deltalake', 'mlflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
