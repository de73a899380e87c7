"""Which bars the stored features were derived from, day by day.

A bar may change long after its features were stored: the venue restates it, a rollback takes it back
or puts it back. So with the features of a day goes a digest of the day's bars, and a day whose bars
have another digest by now is stale: its own rows, and those after it that look back on it. A change
that is undone before anything was derived from it is none.

The record is written after the features. A kill between the two leaves days that look stale, and
deriving them again changes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import TypedDict

import numpy as np
import polars as pl

from autotrader.data.lake import LakeTable
from autotrader.data.schemas import TIMESTAMP
from autotrader.domain.bars import Interval
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.verdicts import Finding, Severity
from autotrader.features.batch import INPUTS
from autotrader.features.store import layout
from autotrader.features.store.store import FeatureStore

DAY = timedelta(days=1)

Span = tuple[datetime, datetime]


class _Place(TypedDict):
    venue: str
    instruments: list[str]


class _Bounds(TypedDict):
    start: datetime
    end: datetime


_WIDE = {TIMESTAMP: np.int64, pl.Int64: np.float64, pl.Float64: np.float64}  # a null is NaN
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: multiplicative hashing, Knuth, TAOCP 6.4
_NAMED = 3  # stale days that a finding spells out


def midnight_before(instant: datetime) -> datetime:
    """Start of the instant's day, UTC."""
    return datetime.combine(instant.date(), time(), UTC)


def bars_by_day(
    bars: LakeTable,
    instrument: InstrumentId,
    *,
    interval: Interval,
    start: datetime | None = None,
    end: datetime | None = None,
) -> pl.DataFrame:
    """What the bars of each day are: their number, and a digest of all that features depend on.

    Returns
    -------
    pl.DataFrame
        `ts` (start of the day, UTC), `bars`, `digest`; days without bars are not there.
    """
    rows = bars.read(
        venue=instrument.venue.value,
        instruments=[instrument.symbol],
        interval=interval.value,
        start=start,
        end=end,
        columns=["ts", *INPUTS, "known_at"],
    )
    mixed = np.zeros(rows.height, dtype=np.uint64)
    for column in rows:
        mixed ^= column.to_physical().to_numpy().astype(_WIDE[column.dtype], copy=False).view(np.uint64)
        mixed *= _MIX
        mixed ^= mixed >> np.uint64(32)
    return (
        rows.select(pl.col("ts").dt.truncate("1d"), digest=pl.Series(mixed))
        .group_by("ts", maintain_order=True)
        .agg(bars=pl.len().cast(pl.Int64), digest=pl.col("digest").sum().reinterpret(signed=True))
    )


def bar_files(bars: LakeTable, instrument: InstrumentId, *, interval: Interval) -> str:
    """Names the files that hold the instrument's bars: see `TableReader.files_digest`."""
    return bars.files_digest(
        venue=instrument.venue.value, instrument=instrument.symbol, interval=interval.value
    )


def stale_days(
    bars: LakeTable,
    store: FeatureStore,
    instrument: InstrumentId,
    *,
    interval: Interval,
    settled: str | None = None,
) -> list[datetime]:
    """Starts of days whose features are missing, or were derived from other bars than stand now.

    Reads the bars' inputs of features, and of the features nothing unless there are more or fewer than bars.

    Parameters
    ----------
    settled : str or None
        `bar_files` as of when every day was last found up to date, or settled: bars that still lie in
        these files are not read again.
    """
    place: _Place = {"venue": instrument.venue.value, "instruments": [instrument.symbol]}
    is_whole = store.rows.count_range(**place) == bars.count_range(**place)
    if is_whole and settled == bar_files(bars, instrument, interval=interval):
        return []
    stand = bars_by_day(bars, instrument, interval=interval)
    known = store.derived.read(**place, interval=interval.value, columns=["ts", "bars", "digest"])
    both = stand.join(known, on="ts", how="full", coalesce=True, suffix="_known").with_columns(
        pl.col("bars", "bars_known", "digest", "digest_known").fill_null(0)
    )
    differs = (pl.col("bars") != pl.col("bars_known")) | (pl.col("digest") != pl.col("digest_known"))
    stale = set(both.filter(differs)["ts"])
    if not is_whole:
        rows = store.rows.read(**place, interval=interval.value, columns=["ts"])
        counted = rows.group_by(pl.col("ts").dt.truncate("1d")).len("rows")
        matched = stand.join(counted, on="ts", how="full", coalesce=True).fill_null(0)
        stale |= set(matched.filter(pl.col("bars") != pl.col("rows"))["ts"])
    return sorted(stale)


def record_of(
    bars: LakeTable, instrument: InstrumentId, days: Sequence[datetime], *, interval: Interval
) -> pl.DataFrame:
    """Rows of the record for these days, in order; to be taken before the features are derived.

    So a bar that changes meanwhile makes the day stale.
    """
    if not days:
        return pl.DataFrame(schema=layout.derived_schema())
    stand = bars_by_day(bars, instrument, interval=interval, start=min(days), end=max(days) + DAY)
    wanted = pl.DataFrame({"ts": sorted(days)}, schema={"ts": TIMESTAMP})
    rows = wanted.join(stand, on="ts", how="left", maintain_order="left").fill_null(0)
    return rows.with_columns(
        venue=pl.lit(instrument.venue.value),
        instrument=pl.lit(instrument.symbol),
        interval=pl.lit(interval.value),
    ).select(list(layout.derived_schema()))


def settle(bars: LakeTable, store: FeatureStore, record: pl.DataFrame) -> int:
    """Finish days whose features are stored: remove rows that no bar stands behind, and record the days.

    Parameters
    ----------
    record : pl.DataFrame
        From `record_of`, of one instrument.

    Returns
    -------
    int
        Rows that were removed.
    """
    if record.is_empty():
        return 0
    instrument = InstrumentId.parse(f"{record['venue'][0]}:{record['instrument'][0]}")
    interval = Interval(record["interval"][0])
    removed = sum(
        remove_without_bars(bars, store, instrument, interval=interval, start=start, end=end)
        for start, end in runs(record["ts"].to_list())
    )
    store.derived.upsert([record], commit_key=f"derived/{instrument}/{uuid.uuid4().hex}")
    return removed


def remove_without_bars(
    bars: LakeTable,
    store: FeatureStore,
    instrument: InstrumentId,
    *,
    interval: Interval,
    start: datetime,
    end: datetime,
) -> int:
    """Take out feature rows with ts in [start, end) that no bar stands behind; returns how many."""
    place: _Place = {"venue": instrument.venue.value, "instruments": [instrument.symbol]}
    span: _Bounds = {"start": start, "end": end}
    if store.rows.count_range(**place, **span) == bars.count_range(**place, **span):
        return 0
    rows, stood = (
        table.read(**place, **span, interval=interval.value, columns=["ts"]) for table in (store.rows, bars)
    )
    orphans = rows.join(stood, on="ts", how="anti", maintain_order="left")["ts"].to_list()
    return sum(
        store.remove(instrument, start=first, end=end, commit_key=f"without_bars/{uuid.uuid4().hex}")
        for first, end in runs(orphans, step=interval.delta)
    )


def runs(instants: Sequence[datetime], *, step: timedelta = DAY) -> Iterator[Span]:
    """Spans of ascending instants that follow one another at the step; each ends a step after its last."""
    begin = last = None
    for instant in instants:
        if begin is None or last is None or instant - last != step:
            if begin is not None and last is not None:
                yield begin, last + step
            begin = instant
        last = instant
    if begin is not None and last is not None:
        yield begin, last + step


def joined(spans: Sequence[Span]) -> Iterator[Span]:
    """Spans in order of their starts, those that touch made one."""
    begin = end = None
    for first, last in sorted(spans):
        if begin is None or end is None:
            begin, end = first, last
        elif first <= end:
            end = max(end, last)
        else:
            yield begin, end
            begin, end = first, last
    if begin is not None and end is not None:
        yield begin, end


def staleness_finding(instrument: InstrumentId, days: Sequence[datetime]) -> Finding | None:
    """What stale days mean for the health of the features; None if there are none."""
    if not days:
        return None
    named = ", ".join(f"{day:%Y-%m-%d}" for day in days[:_NAMED])
    more = f" and {len(days) - _NAMED} more" if len(days) > _NAMED else ""
    return Finding(
        "stale_features",
        Severity.WARNING,
        f"features of {instrument} are not of the bars that stand now on {named}{more}: "
        "run data_pipeline, or retry_write for each day",
        {"instrument": str(instrument), "days": [f"{day:%Y-%m-%d}" for day in days]},
    )
