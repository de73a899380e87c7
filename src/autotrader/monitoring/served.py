"""What the live model was asked and what it said, one row a bar."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from autotrader.config.settings import Settings
from autotrader.data.lake import Lake
from autotrader.data.predictions import PredictionStore
from autotrader.domain.instruments import InstrumentId

_BAR = ("venue", "instrument", "ts")


def served_rows(
    lake: Lake,
    settings: Settings,
    *,
    version: str,
    feature_set: str,
    start: datetime,
    end: datetime,
    instruments: Sequence[InstrumentId] | None = None,
) -> pl.DataFrame:
    """Rows served by a version for bars with open in [start, end), sorted by venue, instrument, ts.

    The same bar may have been asked for several times, by both colours or by the replay driver: an
    answer that somebody could act on comes before a replayed one, and of those the first counts.

    Returns
    -------
    pl.DataFrame
        As `PredictionStore.read`.
    """
    rows = PredictionStore(lake).read(
        start=start, end=end, instruments=instruments, version=version, feature_set=feature_set
    )
    return (
        rows.filter(pl.col("interval") == settings.strategy.interval.value)
        .sort(*_BAR, "replayed", "received_at", "request_id", maintain_order=True)
        .unique(_BAR, keep="first", maintain_order=True)
    )
