"""Reference statistics: right, robust to ties, and honest about what is missing."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from autotrader.domain.errors import BadData
from autotrader.features.batch import compute
from autotrader.features.definitions import BALANCED
from autotrader.features.store.statistics import describe
from tests.unit.features.market import walk


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    bars = walk(3_000)
    return pl.concat([bars.select("venue", "instrument"), compute(bars)], how="horizontal")


def test_moments_are_those_of_the_values_that_are_there(frame: pl.DataFrame) -> None:
    found = describe(frame, BALANCED).features["rsi_14"]
    values = frame["rsi_14"].drop_nans().cast(pl.Float64)
    assert found.count == len(values)
    assert found.missing_share == pytest.approx(208 / 3_000)
    assert found.mean == pytest.approx(values.mean())
    assert found.standard_deviation == pytest.approx(values.std())
    assert (found.minimum, found.maximum) == (values.min(), values.max())


def test_bins_hold_equal_shares_of_a_continuous_feature(frame: pl.DataFrame) -> None:
    found = describe(frame, BALANCED, bins=10).features["zscore_50"]
    assert len(found.bin_edges) == 9
    assert found.bin_shares == pytest.approx([0.1] * 10, abs=0.002)


def test_shares_are_those_of_the_bins(frame: pl.DataFrame) -> None:
    for name, found in describe(frame, BALANCED).features.items():
        values = frame[name].drop_nans().to_numpy().astype(float)
        place = np.searchsorted(found.bin_edges, values, side="left")
        shares = np.bincount(place, minlength=len(found.bin_edges) + 1) / values.size
        assert found.bin_shares == pytest.approx(shares), name
        assert min(found.bin_shares) > 0, name


def test_a_flag_has_a_bin_a_value_and_a_constant_one_bin(frame: pl.DataFrame) -> None:
    features = describe(frame.with_columns(hour=pl.lit(3.0, pl.Float32)), BALANCED).features
    assert features["session_london"].bin_edges == (0.0,)
    assert features["hour"].bin_edges == ()
    assert features["hour"].bin_shares == (1.0,)


def test_a_feature_without_values_is_missing_altogether(frame: pl.DataFrame) -> None:
    nothing = frame.with_columns(rsi_14=pl.lit(float("nan"), pl.Float32))
    found = describe(nothing, BALANCED).features["rsi_14"]
    assert (found.count, found.missing_share, found.bin_shares) == (0, 1.0, ())


def test_the_window_is_named(frame: pl.DataFrame) -> None:
    found = describe(frame, BALANCED)
    assert found.instruments == ("binance:BTCUSDT",)
    assert (found.start, found.end, found.rows) == (frame["ts"][0], frame["ts"][-1], 3_000)
    with pytest.raises(BadData, match="another window"):
        describe(frame.clear(), BALANCED)
