"""Requests of the last day, to be asked again: real rows of features, in the order of their bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autotrader.data.predictions import PredictionStore
from autotrader.domain.bars import Interval
from autotrader.domain.errors import NotFound
from autotrader.domain.instruments import InstrumentId
from autotrader.features.store.store import FeatureStore

SPAN = timedelta(hours=24)


@dataclass(frozen=True, slots=True, eq=False)
class ReplayRows:
    """Rows to ask about.

    Attributes
    ----------
    instrument : tuple of str
        `venue:symbol` of each row.
    ts : int64[n]
        Opens of the bars in microseconds since 1970, UTC; never decreasing.
    features : float32[n, f]
        Complete.
    names : tuple of str
        Of the columns.
    source : str
        What they are, for people.
    """

    instrument: tuple[str, ...]
    ts: NDArray[np.int64]
    features: NDArray[np.float32]
    names: tuple[str, ...]
    source: str

    def __len__(self) -> int:
        return len(self.instrument)

    def in_order_of(self, names: Sequence[str]) -> ReplayRows:
        """The same rows with these columns.

        Raises
        ------
        NotFound
            If a column is not among them.
        """
        missing = [name for name in names if name not in self.names]
        if missing:
            raise NotFound(f"expected features {', '.join(missing)}, was without: another feature set?")
        order = [self.names.index(name) for name in names]
        features = np.ascontiguousarray(self.features[:, order])
        return replace(self, features=features, names=tuple(names))


def rows_of_last_day(
    predictions: PredictionStore,
    features: FeatureStore,
    instruments: Sequence[InstrumentId],
    *,
    interval: Interval,
    now: datetime,
) -> ReplayRows:
    """What callers asked in the last 24 h of market time; where nobody did, what they could have asked.

    Parameters
    ----------
    now : datetime
        Market time.

    Raises
    ------
    NotFound
        If there is no complete row of features either.
    """
    names = features.feature_set.names
    asked = predictions.read(start=now - SPAN, end=now, instruments=instruments, replayed=False)
    served = asked.unique(["venue", "instrument", "ts"], keep="first") if asked.height else asked
    if served.height:
        return _rows(served, names, "requests of the last 24 h")
    stored = features.load_features(instruments, interval=interval, start=now - SPAN, end=now)
    rows = _rows(stored, names, "bars of the last 24 h (nobody asked for predictions then)")
    if len(rows) == 0:
        wanted = ", ".join(map(str, instruments))
        raise NotFound(
            f"expected features of {wanted} in the 24 h before {now:%F %T}, was none: run data_pipeline"
        )
    return rows


def _rows(frame: pl.DataFrame, names: Sequence[str], source: str) -> ReplayRows:
    complete = frame.filter(pl.all_horizontal(pl.col(name).is_finite() for name in names)).sort(
        "ts", "venue", "instrument"
    )
    ids = complete.select(pl.concat_str("venue", "instrument", separator=":"))
    return ReplayRows(
        tuple(ids.to_series().to_list()),
        complete["ts"].dt.epoch("us").to_numpy(),
        np.ascontiguousarray(complete.select(names).to_numpy(), dtype=np.float32),
        tuple(names),
        source,
    )
