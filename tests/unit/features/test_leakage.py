"""No feature sees the future or hides its lookback; and what says so finds those that do."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from autotrader.domain.errors import BadData
from autotrader.features.batch import compute
from autotrader.features.definitions import BALANCED, FeatureDefinition, FeatureGroup, FeatureSet
from autotrader.features.leakage import check_warm_up, find_leaks
from tests import real_data
from tests.unit.features.market import exact, walk

CLOSE = pl.col("close")


def test_no_feature_sees_the_future_of_real_bars() -> None:
    report = find_leaks(exact, real_data.bars("ETHUSDT", days=1), names=BALANCED.names, cuts=8)
    assert report.leaks == ()
    assert report.passed
    assert report.features == BALANCED.names
    assert report.comparisons >= 21


def test_no_stored_feature_sees_the_future() -> None:
    assert find_leaks(compute, walk(800), names=BALANCED.names).passed


@pytest.mark.parametrize(
    "leak",
    [
        pytest.param(CLOSE.rolling_mean(5, center=True), id="centred window"),
        pytest.param(CLOSE.shift(-1) / CLOSE - 1, id="next bar"),
        pytest.param(CLOSE.shift(-60) / CLOSE - 1, id="an hour ahead"),
        pytest.param((CLOSE - CLOSE.mean()) / CLOSE.std(), id="normalised by the full sample"),
        pytest.param(CLOSE.rank() / pl.len(), id="ranked in the full sample"),
        pytest.param(CLOSE / CLOSE.max(), id="scaled by the maximum to come"),
        pytest.param(CLOSE.reverse().cum_max().reverse(), id="running from the end"),
        pytest.param(CLOSE.rolling_mean(5).fill_null(strategy="backward"), id="filled backwards"),
        pytest.param(pl.col("volume").interpolate() + pl.col("volume").shift(-1), id="next volume"),
    ],
)
def test_a_planted_leak_is_found(leak: pl.Expr) -> None:
    def leaking(bars: pl.DataFrame) -> pl.DataFrame:
        return exact(bars).with_columns(bars.select(leak.cast(pl.Float64).alias("planted"))["planted"])

    report = find_leaks(leaking, walk(800), names=[*BALANCED.names, "planted"])
    assert [found.feature for found in report.leaks] == ["planted"]
    assert not report.passed
    found = report.leaks[0]
    assert found.ts <= found.cut


def test_a_report_on_nothing_has_not_passed() -> None:
    assert not find_leaks(exact, walk(800), names=[]).passed
    with pytest.raises(BadData, match="more history"):
        find_leaks(exact, walk(3), names=BALANCED.names)


def test_every_lookback_is_enough_and_none_is_wasteful() -> None:
    report = check_warm_up(exact, real_data.bars("BTCUSDT", days=1), BALANCED, rows=6)
    assert report.too_short == ()
    assert report.too_long == ()
    assert report.passed


def declared(name: str, lookback: int) -> FeatureSet:
    feature = FeatureDefinition(name, "share", lookback, FeatureGroup.TECHNICAL, (-1, 1), "planted")
    return FeatureSet("planted-v1", (feature,))


def of(expression: pl.Expr) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda bars: bars.select(
        "ts", expression.cast(pl.Float64).fill_null(float("nan")).alias("planted")
    )


def test_a_recursion_without_end_needs_more_than_it_declares() -> None:
    report = check_warm_up(of(CLOSE.ewm_mean(span=12)), walk(800), declared("planted", 96))
    assert report.too_short == ("planted",)
    assert not report.passed


def test_a_lookback_that_is_declared_too_short_is_found() -> None:
    report = check_warm_up(of(CLOSE.rolling_mean(20, min_samples=1)), walk(800), declared("planted", 19))
    assert report.too_short == ("planted",)


def test_a_lookback_that_is_declared_too_long_is_found() -> None:
    report = check_warm_up(of(CLOSE / CLOSE.shift(20)), walk(800), declared("planted", 30))
    assert report.too_long == ("planted",)


def test_warm_up_needs_more_history_than_the_lookback() -> None:
    with pytest.raises(BadData, match="more than 279"):
        check_warm_up(exact, walk(279), BALANCED)
