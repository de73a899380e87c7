"""What the feature set promises."""

from __future__ import annotations

import pytest

from autotrader.domain.errors import NotFound
from autotrader.features.definitions import BALANCED, FeatureGroup


def test_the_balanced_set_has_every_feature_of_the_contract() -> None:
    rolling = {
        f"{kind}_{w}"
        for w in (20, 50, 200)
        for kind in (
            "log_return",
            "simple_return",
            "volatility",
            "parkinson_volatility",
            "percentile",
            "zscore",
        )
    }
    assert set(BALANCED.names) == rolling | {
        "rsi_14",
        "macd_line",
        "macd_signal",
        "macd_histogram",
        "bollinger_upper_distance",
        "bollinger_lower_distance",
        "atr_14",
        "hour",
        "minute",
        "day_of_week",
        *(f"{name}_{part}" for name in ("hour", "minute", "day_of_week") for part in ("sin", "cos")),
        "session_asia",
        "session_london",
        "session_new_york",
        "vwap_distance_50",
        "obv_slope_20",
        "taker_buy_share_20",
        "volatility_regime",
        "trend_regime",
    }


def test_every_feature_says_what_it_is() -> None:
    assert len(set(BALANCED.names)) == len(BALANCED.names)
    for feature in BALANCED.features:
        low, high = feature.expected_range
        assert low < high, feature.name
        assert feature.lookback_bars >= 1, feature.name
        assert feature.unit, feature.name
        assert feature.formula, feature.name
        assert feature.venues, feature.name
    assert {f.group for f in BALANCED.features} == set(FeatureGroup)


def test_the_lookback_of_the_set_is_the_longest_of_its_features() -> None:
    assert BALANCED.lookback == BALANCED["macd_signal"].lookback_bars == 279


def test_an_unknown_feature_is_not_found() -> None:
    with pytest.raises(NotFound, match="magic"):
        BALANCED["magic"]
