"""What features look like over a window: the profile that later windows are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autotrader.domain.errors import BadData
from autotrader.features.definitions import FeatureSet
from autotrader.features.reference.distances import quantile_edges


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """One feature over the window, all instruments together; NaN counts as missing.

    Attributes
    ----------
    count : int
        Values that are there.
    missing_share : float
    mean, standard_deviation, minimum, maximum : float
        NaN without values; the deviation is that of the sample.
    bin_edges : tuple of float
        Inner edges of the bins, strictly increasing: quantiles of the values, fewer where many
        values are equal. The first and last bin are open, so that outliers are counted.
    bin_shares : tuple of float
        Share of the values in each bin; one more than edges. A value on an edge is below it.
    """

    count: int
    missing_share: float
    mean: float
    standard_deviation: float
    minimum: float
    maximum: float
    bin_edges: tuple[float, ...]
    bin_shares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ReferenceStatistics:
    """All features of a set over a window.

    Attributes
    ----------
    feature_set_version : str
    rows : int
    start, end : datetime
        First and last ts of the rows, UTC.
    instruments : tuple of str
        `venue:symbol`.
    features : Mapping[str, FeatureStatistics]
    """

    feature_set_version: str
    rows: int
    start: datetime
    end: datetime
    instruments: tuple[str, ...]
    features: Mapping[str, FeatureStatistics]


def describe(frame: pl.DataFrame, feature_set: FeatureSet, *, bins: int = 10) -> ReferenceStatistics:
    """Statistics of each feature.

    Parameters
    ----------
    frame : pl.DataFrame
        `venue`, `instrument`, `ts` and the features.
    bins : int
        Quantile bins to aim at.

    Raises
    ------
    BadData
        If there is no row.
    """
    if frame.is_empty():
        raise BadData("expected feature rows in the reference window, was none: choose another window")
    series = frame.select("venue", "instrument").unique().sort("venue", "instrument").iter_rows()
    first, last = frame.select(pl.col("ts").min().alias("first"), pl.col("ts").max().alias("last")).row(0)
    return ReferenceStatistics(
        feature_set_version=feature_set.version,
        rows=frame.height,
        start=first,
        end=last,
        instruments=tuple(f"{venue}:{symbol}" for venue, symbol in series),
        features={name: _describe(frame[name].to_numpy(), bins) for name in feature_set.names},
    )


def _describe(column: NDArray[np.float32], bins: int) -> FeatureStatistics:
    values = column[~np.isnan(column)].astype(np.float64)
    if values.size == 0:
        nothing = float("nan")
        return FeatureStatistics(0, 1.0, nothing, nothing, nothing, nothing, (), ())
    values.sort()
    edges = quantile_edges(values, bins)
    bounds = np.concatenate([[0], np.searchsorted(values, edges, side="right"), [values.size]])
    return FeatureStatistics(
        count=int(values.size),
        missing_share=1 - values.size / column.size,
        mean=float(values.mean()),
        standard_deviation=float(values.std(ddof=1)) if values.size > 1 else float("nan"),
        minimum=float(values[0]),
        maximum=float(values[-1]),
        bin_edges=tuple(edges.tolist()),
        bin_shares=tuple((np.diff(bounds) / values.size).tolist()),
    )
