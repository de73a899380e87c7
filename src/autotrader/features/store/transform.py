"""From bars in the lake to rows of the feature store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import polars as pl

from autotrader.data.schemas import TIMESTAMP
from autotrader.domain.bars import Interval
from autotrader.domain.instruments import InstrumentId
from autotrader.features.batch import INPUTS, compute
from autotrader.features.definitions import BALANCED, FeatureSet
from autotrader.features.store import layout

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_END = datetime(2100, 1, 1, tzinfo=UTC)
# Closed markets make bars rarer than the clock: look this many times further each time.
_WIDER = 8
_COLUMNS = ("venue", "instrument", "interval", "ts", *INPUTS, "known_at")


class ReadsBars(Protocol):
    """What is needed of `autotrader.data.bars.BarStore`."""

    def read(
        self,
        instruments: Sequence[InstrumentId],
        *,
        interval: Interval,
        start: datetime | None = None,
        end: datetime | None = None,
        columns: Sequence[str] | None = None,
        as_of: datetime | None = None,
    ) -> pl.DataFrame: ...


def transform(
    bar_store: ReadsBars,
    instrument: InstrumentId,
    *,
    interval: Interval,
    start: datetime,
    end: datetime,
    feature_set: FeatureSet = BALANCED,
    as_of: datetime | None = None,
    workers: int | None = None,
) -> pl.DataFrame:
    """Feature rows of one instrument's bars with open in [start, end).

    The numbers do not depend on `start`: as many bars before it are read as features look back on.
    After bars changed, transform `affected_range` of the change.

    Parameters
    ----------
    as_of : datetime or None
        Market time, UTC: from the bars as they were known then. None is now.
    workers : int or None
        Threads; None is one a processor.

    Returns
    -------
    pl.DataFrame
        Columns of `layout.schema`, sorted by ts. `known_at` is when the last of the bars in the
        lookback became known.

    Raises
    ------
    BadData
        If the stored bars are not a series (see `autotrader.features.batch.compute`).
    """
    bars = _with_context(bar_store, instrument, interval, start, end, feature_set.lookback - 1, as_of)
    known_at = pl.col("known_at").cast(TIMESTAMP).to_physical()
    rows = compute(bars, feature_set, workers=workers).with_columns(
        bars["venue"],
        bars["instrument"],
        bars["interval"],
        pl.lit(feature_set.version).alias("feature_set_version"),
        bars.select(known_at.rolling_max(feature_set.lookback, min_samples=1).cast(TIMESTAMP))["known_at"],
    )
    return rows.filter(pl.col("ts") >= start).select(list(layout.schema(feature_set)))


def affected_range(
    bar_store: ReadsBars,
    instrument: InstrumentId,
    *,
    interval: Interval,
    changed_start: datetime,
    changed_end: datetime,
    lookback: int = BALANCED.lookback,
) -> tuple[datetime, datetime]:
    """The rows that change when bars with open in [changed_start, changed_end) do.

    A bar matters to the `lookback - 1` bars after it, wherever closed markets or gaps put them.

    Returns
    -------
    tuple of datetime
        First ts, and the ts before which to stop.
    """
    wanted = lookback - 1
    after = pl.DataFrame(schema={"ts": TIMESTAMP})
    for stop in _widening(changed_end, interval, wanted, forwards=True):
        after = bar_store.read([instrument], interval=interval, start=changed_end, end=stop, columns=["ts"])
        if after.height >= wanted:
            break
    if after.is_empty() or wanted == 0:
        return changed_start, changed_end
    last: datetime = after["ts"][min(wanted, after.height) - 1]
    return changed_start, last + interval.delta


def _with_context(
    bar_store: ReadsBars,
    instrument: InstrumentId,
    interval: Interval,
    start: datetime,
    end: datetime,
    wanted: int,
    as_of: datetime | None,
) -> pl.DataFrame:
    """Bars in [start, end) and the `wanted` bars before them, or all there are."""
    bars = bar_store.read(
        [instrument], interval=interval, start=start, end=end, columns=_COLUMNS, as_of=as_of
    )
    before = bars.clear()
    for begin in _widening(start, interval, wanted, forwards=False):
        before = bar_store.read(
            [instrument], interval=interval, start=begin, end=start, columns=_COLUMNS, as_of=as_of
        )
        if before.height >= wanted:
            break
    return pl.concat([before.tail(wanted), bars])


def _widening(origin: datetime, interval: Interval, bars: int, *, forwards: bool) -> Iterator[datetime]:
    """Instants further and further from the origin, to the end of time."""
    span = interval.delta * bars
    limit = _END if forwards else _BEGINNING
    while timedelta(0) < span < abs(limit - origin):
        yield origin + span if forwards else origin - span
        span *= _WIDER
    yield limit
