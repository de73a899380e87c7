"""What the features are: name, unit, lookback, expected range and formula of each.

The formulas themselves are in `autotrader.features.kernels`, in the same order; both the batch and
the live path evaluate them there. Prices enter as ratios, so that values compare over instruments.
Every feature of bar `ts` uses bars up to and including that one, and is known when it has closed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from autotrader.domain.errors import NotFound
from autotrader.domain.instruments import Venue


class FeatureGroup(StrEnum):
    TECHNICAL = "technical"
    ROLLING = "rolling"
    TEMPORAL = "temporal"
    VOLUME = "volume"
    REGIME = "regime"


@dataclass(frozen=True, slots=True)
class FeatureDefinition:
    """One feature.

    Attributes
    ----------
    name : str
    unit : str
        What 1.0 means.
    lookback_bars : int
        Bars that the value needs, its own included; NaN before.
    group : FeatureGroup
    expected_range : tuple of float
        Smallest and largest value that good data gives. A hard bound where the formula has one,
        otherwise wide enough for a crash: what lies outside is looked at by a person.
    formula : str
        In the notation of a bar i, with its source.
    venues : tuple of Venue
        Those whose bars hold what it needs; NaN on the others.
    dtype : str
        As stored and served; computed in float64.
    version : int
        Raised when the formula changes.
    """

    name: str
    unit: str
    lookback_bars: int
    group: FeatureGroup
    expected_range: tuple[float, float]
    formula: str
    venues: tuple[Venue, ...] = tuple(Venue)
    dtype: str = "float32"
    version: int = 1


@dataclass(frozen=True)
class FeatureSet:
    """Features that are computed, stored and served together.

    Attributes
    ----------
    version : str
        Names the set in tables and models; changes whenever a feature is added, removed or changed.
    features : tuple of FeatureDefinition
        In the order of every frame's columns and every model's inputs.
    """

    version: str
    features: tuple[FeatureDefinition, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.features)

    @cached_property
    def lookback(self) -> int:
        """Bars that the newest row needs, its own included."""
        return max(f.lookback_bars for f in self.features)

    def __getitem__(self, name: str) -> FeatureDefinition:
        for feature in self.features:
            if feature.name == name:
                return feature
        raise NotFound(f"expected a feature of {self.version}, was {name!r}: see `names`")


ROLLING_WINDOWS = (20, 50, 200)

_SHARE_OF_CLOSE = "share of the close"
_WILDER = "J. Welles Wilder, New Concepts in Technical Trading Systems, 1978"
_SMOOTHED = "weights (1 - a)^k over the last {} bars, normalised; the rest would weigh below 2.1e-7"


def _technical() -> Iterator[FeatureDefinition]:
    group = FeatureGroup.TECHNICAL
    wilder = _SMOOTHED.format(208).replace("a)", "1/14)")
    yield FeatureDefinition(
        "rsi_14", "per cent", 209, group, (0, 100),
        f"100 G / (G + L), averages of rises and falls of the close with {wilder}; 50 where nothing moved. "
        f"{_WILDER}",
    )  # fmt: skip
    appel = "Gerald Appel, The Moving Average Convergence-Divergence Trading Method, 1979"
    line = f"EMA12 - EMA26 of the close, over the close; EMA_n has a = 2 / (n + 1), {_SMOOTHED.format(208)}"
    yield FeatureDefinition("macd_line", _SHARE_OF_CLOSE, 208, group, (-0.2, 0.2), f"{line}. {appel}")
    yield FeatureDefinition(
        "macd_signal", _SHARE_OF_CLOSE, 279, group, (-0.2, 0.2),
        f"EMA9 of the MACD line in price, over 72 bars, over the close. {appel}",
    )  # fmt: skip
    yield FeatureDefinition(
        "macd_histogram", _SHARE_OF_CLOSE, 279, group, (-0.1, 0.1), f"macd_line - macd_signal. {appel}"
    )
    bollinger = (
        "with mean m and population deviation s of 20 closes. "
        "John Bollinger, Bollinger on Bollinger Bands, 2001"
    )
    for side, formula in (("upper", "(m + 2 s - c) / c"), ("lower", "(c - m + 2 s) / c")):
        yield FeatureDefinition(
            f"bollinger_{side}_distance", _SHARE_OF_CLOSE, 20, group, (-1, 1), f"{formula} {bollinger}"
        )
    yield FeatureDefinition(
        "atr_14", _SHARE_OF_CLOSE, 209, group, (0, 0.2),
        f"average of the true range with {wilder}, over the close. {_WILDER}",
    )  # fmt: skip


def _rolling(w: int) -> Iterator[FeatureDefinition]:
    group = FeatureGroup.ROLLING
    yield FeatureDefinition(f"log_return_{w}", "log return", w + 1, group, (-1, 1), f"log(c_i / c_(i-{w}))")
    yield FeatureDefinition(
        f"simple_return_{w}", "return", w + 1, group, (-0.65, 1.75), f"c_i / c_(i-{w}) - 1"
    )
    yield FeatureDefinition(
        f"volatility_{w}", "log return a bar", w + 1, group, (0, 0.1),
        f"sample deviation of the last {w} log returns of one bar",
    )  # fmt: skip
    yield FeatureDefinition(
        f"parkinson_volatility_{w}", "log return a bar", w, group, (0, 0.1),
        f"sqrt(mean of log(high / low)^2 over {w} bars / (4 log 2)). "
        "Michael Parkinson, The Extreme Value Method for Estimating the Variance of the Rate of Return, 1980",
    )  # fmt: skip
    yield FeatureDefinition(
        f"percentile_{w}", "share", w, group, (0, 1),
        f"average rank of the close among the last {w}, over {w}",
    )  # fmt: skip
    bound = (w - 1) / w**0.5
    yield FeatureDefinition(
        f"zscore_{w}", "standard deviations", w, group, (-bound, bound),
        f"(c - mean) / sample deviation of the last {w} closes; 0 where they are all equal",
    )  # fmt: skip


def _temporal() -> Iterator[FeatureDefinition]:
    group = FeatureGroup.TEMPORAL
    for name, unit, last in (("hour", "hours", 23), ("minute", "minutes", 59), ("day_of_week", "days", 6)):
        start = "; Monday is 0" if name == "day_of_week" else ""
        yield FeatureDefinition(name, unit, 1, group, (0, last), f"{name} of the bar's open in UTC{start}")
    for name, period in (("hour", 24), ("minute", 60), ("day_of_week", 7)):
        for part, function in (("sin", "sine"), ("cos", "cosine")):
            yield FeatureDefinition(
                f"{name}_{part}", "coordinate on the unit circle", 1, group, (-1, 1),
                f"{function} of 2 pi {name} / {period}",
            )  # fmt: skip
    for session, hours in (
        ("asia", "09:00 to 18:00 in Tokyo"),
        ("london", "08:00 to 17:00 in London"),
        ("new_york", "08:00 to 17:00 in New York"),
    ):
        yield FeatureDefinition(
            f"session_{session}", "flag", 1, group, (0, 1),
            f"1 where the bar opens within {hours}, Monday to Friday, else 0",
        )  # fmt: skip


def _volume() -> Iterator[FeatureDefinition]:
    group = FeatureGroup.VOLUME
    yield FeatureDefinition(
        "vwap_distance_50", _SHARE_OF_CLOSE.replace("close", "average price"), 50, group, (-0.65, 1.75),
        "c / V - 1 with V = sum of (high + low + close) / 3 x volume over 50 bars / their volume; "
        "NaN where nothing was traded",
    )  # fmt: skip
    yield FeatureDefinition(
        "obv_slope_20", "mean bar volumes a bar", 20, group, (-10, 10),
        "least squares slope of on-balance volume over 20 bars, over their mean volume; NaN where nothing "
        "was traded. Joseph Granville, New Key to Stock Market Profits, 1963",
    )  # fmt: skip
    yield FeatureDefinition(
        "taker_buy_share_20", "share", 20, group, (0, 1),
        "volume that buyers took over all volume, 20 bars; NaN where nothing was traded or the venue "
        "does not say who took",
        venues=(Venue.BINANCE,),
    )  # fmt: skip


def _regime() -> Iterator[FeatureDefinition]:
    group = FeatureGroup.REGIME
    yield FeatureDefinition(
        "volatility_regime", "class", 201, group, (-1, 1),
        "1 where volatility_20 > 1.25 volatility_200, -1 where it is < 0.75 of it, else 0",
    )  # fmt: skip
    yield FeatureDefinition(
        "trend_regime", "class", 201, group, (-1, 1),
        "sign of log_return_200 where it is beyond volatility_200 x sqrt(200) (one standard error of the "
        "mean return), else 0",
    )  # fmt: skip


BALANCED = FeatureSet(
    "balanced-v1",
    (
        *_technical(),
        *(feature for w in ROLLING_WINDOWS for feature in _rolling(w)),
        *_temporal(),
        *_volume(),
        *_regime(),
    ),
)
"""The default set: technical, rolling, temporal, volume and regime features of bars alone."""
