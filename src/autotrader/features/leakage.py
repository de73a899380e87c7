"""Does a feature see the future? Does it need the bars that it says it needs?

Both questions are put to any function from bars to features, so that what answers them for ours can
be tested with functions that do leak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autotrader.domain.errors import BadData
from autotrader.features.definitions import FeatureSet

Compute = Callable[[pl.DataFrame], pl.DataFrame]
"""From bars of one instrument, sorted, to `ts` and a column a feature."""

_PRICES = ("open", "high", "low", "close")
_AMOUNTS = ("volume", "quote_volume", "taker_buy_base", "taker_buy_quote")


@dataclass(frozen=True, slots=True)
class Leak:
    """A value that changed because the future did.

    Attributes
    ----------
    feature : str
    treatment : str
        What was done to the bars after the cut: `removed`, `changed`, `shuffled`.
    cut : datetime
        Open of the last bar that was left alone.
    ts : datetime
        Earliest row that changed.
    """

    feature: str
    treatment: str
    cut: datetime
    ts: datetime


@dataclass(frozen=True, slots=True)
class LeakageReport:
    """What a search for leaks found.

    Attributes
    ----------
    features : tuple of str
        Those that were searched.
    comparisons : int
        Pairs of cut and treatment.
    leaks : tuple of Leak
        One a feature at most.
    """

    features: tuple[str, ...]
    comparisons: int
    leaks: tuple[Leak, ...]

    @property
    def passed(self) -> bool:
        return bool(self.features) and self.comparisons > 0 and not self.leaks


@dataclass(frozen=True, slots=True)
class WarmUpReport:
    """Whether declared lookbacks are what features need.

    Attributes
    ----------
    rows : int
        Rows at which each feature was tried.
    too_short : tuple of str
        Features that give something else on their lookback than on all of history.
    too_long : tuple of str
        Features that give a value on less.
    """

    rows: int
    too_short: tuple[str, ...]
    too_long: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return self.rows > 0 and not self.too_short and not self.too_long


def find_leaks(
    compute: Compute,
    bars: pl.DataFrame,
    *,
    names: Sequence[str],
    cuts: int = 6,
    seed: int = 0,
) -> LeakageReport:
    """Change all bars after a cut in three ways; no value at or before it may change by a bit.

    Parameters
    ----------
    compute : Compute
    bars : pl.DataFrame
        Several times the lookback, so that most cuts lie where features have values.
    names : sequence of str
        Features to search.
    cuts : int
        Instants at which the future begins: near the first bar, before the last, drawn between.

    Raises
    ------
    BadData
        If there are fewer than 4 bars.
    """
    if bars.height < 4:
        raise BadData(f"expected bars to cut in two, was {bars.height}: give more history")
    random = np.random.default_rng(seed)
    # A leak of a single bar shows most surely at the last cut, one into the warm-up at the first.
    drawn = random.integers(2, bars.height - 2, max(cuts - 2, 0)).tolist()
    whole = compute(bars)
    found: dict[str, Leak] = {}
    comparisons = 0
    for cut in sorted({1, bars.height - 2, *drawn}):
        for treatment, treated in _treatments(bars, cut + 1, random):
            comparisons += 1
            other = compute(treated)
            for name in names:
                changed = _differs(whole[name][: cut + 1], other[name][: cut + 1])
                if name not in found and changed.any():
                    ts = bars["ts"][int(np.argmax(changed))]
                    found[name] = Leak(name, treatment, bars["ts"][cut], ts)
    return LeakageReport(tuple(names), comparisons, tuple(found.values()))


def check_warm_up(
    compute: Compute, bars: pl.DataFrame, feature_set: FeatureSet, *, rows: int = 8, seed: int = 0
) -> WarmUpReport:
    """Compute single rows on exactly the declared lookback, and on one bar less.

    The first must give the value of all history, bit for bit; the second must give none.

    Parameters
    ----------
    bars : pl.DataFrame
        Of one instrument, complete: a value that is missing for want of an input proves nothing.

    Raises
    ------
    BadData
        If there are not more bars than the largest lookback.
    """
    if bars.height <= feature_set.lookback:
        raise BadData(f"expected more than {feature_set.lookback} bars, was {bars.height}: give more history")
    ends = np.random.default_rng(seed).integers(feature_set.lookback, bars.height, rows)
    whole = compute(bars)
    short: set[str] = set()
    long: set[str] = set()
    for lookback in sorted({f.lookback_bars for f in feature_set.features}):
        names = [f.name for f in feature_set.features if f.lookback_bars == lookback]
        for end in ends.tolist():
            enough = compute(bars[end - lookback + 1 : end + 1])[-1]
            full = whole[end]
            short |= {n for n in names if _differs(enough[n], full[n]).any()}
            if lookback > 1:
                scant = compute(bars[end - lookback + 2 : end + 1])[-1]
                long |= {
                    n for n in names if not _is_missing(scant[n]).any() and not _is_missing(full[n]).any()
                }
    return WarmUpReport(rows, tuple(sorted(short)), tuple(sorted(long)))


def _treatments(
    bars: pl.DataFrame, begin: int, random: np.random.Generator
) -> Iterator[tuple[str, pl.DataFrame]]:
    past, future = bars[:begin], bars[begin:]
    yield "removed", past
    factor = pl.Series(random.uniform(0.2, 5.0, future.height))
    amount = pl.Series(random.uniform(0.2, 5.0, future.height))
    prices = [pl.col(c) * factor for c in _PRICES if c in bars.columns]
    amounts = [pl.col(c) * amount for c in _AMOUNTS if c in bars.columns]
    yield "changed", pl.concat([past, future.with_columns(*prices, *amounts)])
    order = random.permutation(future.height)
    values = [c for c in (*_PRICES, *_AMOUNTS) if c in bars.columns]
    yield "shuffled", pl.concat([past, future.with_columns(future[c][order] for c in values)])


def _differs(one: pl.Series, other: pl.Series) -> NDArray[np.bool_]:
    """Where two columns are not the same to the last bit; missing is missing."""
    if len(one) != len(other):
        raise BadData(f"expected a row a bar, was {len(other)} rows for {len(one)}")
    a, b = one.to_numpy(), other.to_numpy()
    return np.asarray(~((a == b) | (np.isnan(a) & np.isnan(b))))


def _is_missing(column: pl.Series) -> NDArray[np.bool_]:
    return np.asarray(np.isnan(column.to_numpy()))
