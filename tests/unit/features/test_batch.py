"""Batch features against slow references, and at the edges of what bars can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.domain.errors import BadData
from autotrader.features.batch import BarArrays, compute, compute_arrays, compute_each
from autotrader.features.definitions import BALANCED, FeatureSet
from tests import real_data
from tests.unit.features import reference
from tests.unit.features.market import MINUTE, exact, same_bits, walk, with_gaps

CALENDAR = [f.name for f in BALANCED.features if f.group == "temporal"]
HALF = timedelta(seconds=30)
OTHERS = [n for n in BALANCED.names if n not in CALENDAR]


def assert_matches_reference(bars: pl.DataFrame, *, rows: int, seed: int = 0) -> None:
    """Within 1e-9 standard deviations of the feature, at drawn rows."""
    computed = exact(bars)
    wide = reference.columns(bars)
    drawn = np.random.default_rng(seed).integers(BALANCED.lookback, bars.height, rows)
    for name in BALANCED.names:
        values = computed[name].to_numpy()
        expected = np.array([reference.FORMULAS[name](wide, int(i)) for i in drawn], np.longdouble)
        error = np.abs(values[drawn] - expected)
        scale = np.nanstd(values) or 1.0
        assert float(error.max()) <= 1e-9 * scale, (name, float(error.max() / scale))


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ARBUSDT"])
def test_every_feature_is_exact_on_real_bars(symbol: str) -> None:
    assert_matches_reference(real_data.bars(symbol, days=2), rows=8)


def test_every_feature_is_exact_on_real_bars_with_gaps() -> None:
    assert_matches_reference(with_gaps(real_data.bars("ETHUSDT", days=3), kept=0.7), rows=8)


def test_every_feature_is_exact_where_bars_are_rare() -> None:
    assert_matches_reference(with_gaps(walk(12_000), kept=0.05), rows=10)


def test_a_small_spread_on_a_large_price_keeps_its_digits() -> None:
    bars = walk(600, price=1e6, tick=1e-4, volatility=1e-9)
    computed = exact(bars)["zscore_200"].to_numpy()
    wide = reference.columns(bars)
    expected = np.array([reference.FORMULAS["zscore_200"](wide, i) for i in range(300, 600)], np.longdouble)
    assert float(np.abs(computed[300:] - expected).max()) < 1e-9


def test_what_is_stored_is_the_exact_value_rounded_once() -> None:
    bars = walk()
    rounded = compute(bars)
    for name in BALANCED.names:
        assert same_bits(rounded[name].to_numpy(), exact(bars)[name].to_numpy().astype(np.float32)), name


def test_the_frame_has_a_float32_column_a_feature_and_a_row_a_bar() -> None:
    bars = walk(300)
    features = compute(bars)
    assert features.columns == ["ts", *BALANCED.names]
    assert features["ts"].equals(bars["ts"])
    assert set(features.dtypes[1:]) == {pl.Float32}
    assert sum(features.null_count().row(0)) == 0


def test_a_feature_set_chooses_and_orders_the_columns() -> None:
    some = FeatureSet("some-v1", (BALANCED["zscore_20"], BALANCED["hour"]))
    features = compute(walk(100), some)
    assert features.columns == ["ts", "zscore_20", "hour"]
    assert features["hour"].equals(compute(walk(100))["hour"])


@pytest.mark.parametrize("workers", [2, 3])
def test_the_numbers_do_not_depend_on_threads(workers: int) -> None:
    arrays = BarArrays.from_frame(with_gaps(walk(30_000), kept=0.9))
    alone, together = compute_arrays(arrays, workers=1), compute_arrays(arrays, workers=workers)
    assert same_bits(alone, together)


def test_the_numbers_do_not_depend_on_where_the_bars_begin() -> None:
    bars = with_gaps(walk(3_000), kept=0.8)
    whole = exact(bars)
    for begin in (1, 199, 333, 1000):
        later = exact(bars[begin:])
        for name in BALANCED.names:
            skip = BALANCED[name].lookback_bars - 1
            part = whole[name][begin + skip :].to_numpy()
            assert same_bits(later[name][skip:].to_numpy(), part), (name, begin)


def test_instruments_are_streamed_in_order() -> None:
    taken: list[str] = []

    def frames() -> Iterator[pl.DataFrame]:
        for k in range(7):
            taken.append(f"I{k}")
            yield walk(300 + k, seed=k, symbol=f"I{k}")

    heights = []
    for frame in compute_each(frames(), workers=2):
        heights.append(frame.height)
        assert len(taken) <= len(heights) + 2, "more frames were taken than threads could use"
    assert heights == [300 + k for k in range(7)]


def test_an_empty_frame_gives_an_empty_frame() -> None:
    features = compute(walk(10).clear())
    assert features.height == 0
    assert features.columns == ["ts", *BALANCED.names]


def test_a_single_bar_has_a_calendar_and_nothing_else() -> None:
    row = compute(walk(1)).row(0, named=True)
    assert not any(np.isnan(row[n]) for n in CALENDAR)
    assert all(np.isnan(row[n]) for n in OTHERS)


def test_a_feature_warms_up_for_its_lookback_and_no_longer() -> None:
    features = compute(walk(400))
    for feature in BALANCED.features:
        values = features[feature.name].to_numpy()
        assert np.isnan(values[: feature.lookback_bars - 1]).all(), feature.name
        assert not np.isnan(values[feature.lookback_bars - 1 :]).any(), feature.name


@pytest.mark.parametrize("price", [0.1, 30_000.17, 3e-7])
def test_prices_that_stand_still_give_no_noise(price: float) -> None:
    still = walk(400).with_columns(pl.lit(price).alias(c) for c in ("open", "high", "low", "close"))
    last = exact(still).row(-1, named=True)
    assert last["rsi_14"] == 50
    for name in ("macd_line", "macd_signal", "macd_histogram", "vwap_distance_50"):
        assert abs(last[name]) < 1e-14, name
    zero = ("bollinger_upper_distance", "bollinger_lower_distance", "atr_14", "obv_slope_20")
    for name in (*zero, "volatility_regime", "trend_regime"):
        assert last[name] == 0, name
    for w in (20, 50, 200):
        for name in ("log_return", "simple_return", "volatility", "parkinson_volatility", "zscore"):
            assert last[f"{name}_{w}"] == 0, name
        assert last[f"percentile_{w}"] == pytest.approx((w + 1) / 2 / w)


def test_a_market_without_trades_has_no_volume_features() -> None:
    last = compute(walk(300).with_columns(volume=0.0, taker_buy_base=0.0)).row(-1, named=True)
    names = {"vwap_distance_50", "obv_slope_20", "taker_buy_share_20"}
    assert {n for n in BALANCED.names if np.isnan(last[n])} == names


def test_a_venue_without_taker_volume_lacks_that_feature_alone() -> None:
    bars = walk(300).with_columns(taker_buy_base=pl.lit(None, pl.Float64))
    last = compute(bars).row(-1, named=True)
    assert {n for n in BALANCED.names if np.isnan(last[n])} == {"taker_buy_share_20"}


@pytest.mark.parametrize(
    ("column", "untouched"),
    [
        ("close", [n for n in OTHERS if n.startswith(("parkinson", "taker"))]),
        ("high", [n for n in OTHERS if not n.startswith(("atr", "parkinson", "vwap"))]),
        ("low", [n for n in OTHERS if not n.startswith(("atr", "parkinson", "vwap"))]),
        ("volume", [n for n in OTHERS if not n.startswith(("vwap", "obv", "taker"))]),
        ("taker_buy_base", [n for n in OTHERS if not n.startswith("taker")]),
    ],
)
@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_missing_value_is_missing_for_as_long_as_features_look_back(
    column: str, untouched: list[str], missing: float | None
) -> None:
    at = 700
    bars = walk(1_400)
    holed = bars.with_columns(
        pl.when(pl.int_range(pl.len()) == at).then(pl.lit(missing)).otherwise(column).alias(column)
    )
    whole, computed = exact(bars), exact(holed)
    for name in BALANCED.names:
        before, after = whole[name].to_numpy(), computed[name].to_numpy()
        reach = BALANCED[name].lookback_bars
        if name in CALENDAR or name in untouched:
            assert same_bits(before, after), name
            continue
        assert same_bits(before[:at], after[:at]), name
        assert same_bits(before[at + reach :], after[at + reach :]), name
        assert np.isnan(after[at]), name
        # A return looks at its two ends, on-balance volume at signs: not at every bar between.
        if not name.startswith(("log_return", "simple_return", "trend", "obv")):
            inner = reach - 2 if name == "atr_14" and column != "close" else reach - 1
            assert np.isnan(after[at : at + inner]).all(), name


def test_values_stay_within_their_expected_range_on_real_bars() -> None:
    features = compute(real_data.bars("SOLUSDT", days=30))
    for feature in BALANCED.features:
        values = features[feature.name].to_numpy()
        low, high = feature.expected_range
        assert np.nanmin(values) >= low - 1e-6 * abs(low), feature.name
        assert np.nanmax(values) <= high + 1e-6 * abs(high), feature.name


def test_the_calendar_knows_times_before_1970_and_no_sessions_there() -> None:
    bars = walk(10).with_columns(pl.col("ts") - timedelta(days=60 * 365))
    row = compute(bars).row(3, named=True)
    when = bars["ts"][3]
    assert (row["hour"], row["minute"], row["day_of_week"]) == (when.hour, when.minute, when.weekday())
    assert np.isnan(row["session_london"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b.reverse(), "sorted by ts"),
        (lambda b: pl.concat([b[:10], b[9:]]), "step of 0 seconds"),
        (lambda b: pl.concat([b[:5], b[5:].with_columns(pl.col("ts") - HALF)]), "step of 30 seconds"),
        (lambda b: b.drop("close"), "without"),
        (lambda b: pl.concat([b[:5], walk(10, symbol="ETHUSDT")[5:]]), "one instrument"),
        (lambda b: b.with_columns(ts=pl.lit(None, b.schema["ts"])), "null"),
    ],
)
def test_bars_that_are_no_series_are_refused(
    change: Callable[[pl.DataFrame], pl.DataFrame], message: str
) -> None:
    with pytest.raises(BadData, match=message):
        compute(change(walk(10)))


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    kept=st.floats(0.02, 1.0),
    volatility=st.floats(1e-6, 0.05),
    price=st.floats(1e-3, 1e5),
)
def test_bounded_features_stay_in_bounds_whatever_the_market(
    seed: int, kept: float, volatility: float, price: float
) -> None:
    bars = with_gaps(
        walk(1_500, seed=seed, price=price, tick=price * 1e-6, volatility=volatility), kept=kept, seed=seed
    )
    features = exact(bars)
    bounded = [
        n for n in BALANCED.names if n.startswith(("rsi", "percentile", "zscore", "taker", "atr", "vol"))
    ]
    for name in bounded:
        low, high = BALANCED[name].expected_range
        values = features[name].drop_nans()
        if name.startswith(("atr", "volatility_2", "volatility_5")):
            assert (values >= 0).all(), name
        else:
            assert values.is_between(low - 1e-9, high + 1e-9).all(), name


def test_bars_of_one_hour_are_counted_in_hours() -> None:
    minutes = walk(600)
    hours = minutes.with_columns(
        interval=pl.lit("1h"), ts=minutes["ts"][0] + (pl.col("ts") - minutes["ts"][0]) * 60
    )
    assert hours["ts"][1] - hours["ts"][0] == 60 * MINUTE
    one, other = compute(minutes), compute(hours)
    for name in OTHERS:
        np.testing.assert_allclose(one[name].to_numpy(), other[name].to_numpy(), rtol=1e-5, atol=1e-9)
