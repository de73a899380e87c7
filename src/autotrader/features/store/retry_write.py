"""Compute a day's features again: `python -m autotrader.features.store.retry_write --date 2024-02-29`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.data.selection import select_instruments
from autotrader.domain.bars import Interval
from autotrader.domain.errors import ConfigurationError, NotFound
from autotrader.domain.instruments import InstrumentId
from autotrader.features.store.store import FeatureStore
from autotrader.features.store.transform import transform
from autotrader.ports.clock import MarketClock
from autotrader.ports.holds import Holds


@dataclass(frozen=True, slots=True)
class RewriteReport:
    """What a day's recomputation changed.

    Attributes
    ----------
    date : date
    instruments : tuple of str
        Those that were computed.
    version : int
        Of the feature table, with these rows in it.
    inserted, replaced, unchanged : int
        Rows.
    removed : int
        Rows whose bars are not there any more, as after a rollback.
    """

    date: date
    instruments: tuple[str, ...]
    version: int
    inserted: int
    replaced: int
    unchanged: int
    removed: int


def retry_write(
    *,
    date: date,
    instruments: tuple[str, ...] | None = None,
    settings: Settings,
    lake: Lake,
    holds: Holds,
    store: FeatureStore,
    clock: MarketClock,
) -> RewriteReport:
    """Compute the features of a day again from the stored bars, and write what differs.

    Rows whose bars were taken back are removed. Running it twice changes nothing the second time.

    Parameters
    ----------
    date : date
        Day in UTC.
    instruments : tuple of str or None
        Symbols of the settings, or venue:symbol; all of the settings if left out.
    """
    start = datetime.combine(date, time(0), UTC)
    if start > clock.now():
        raise ConfigurationError(f"expected a day up to {clock.now():%Y-%m-%d}, was {date}")
    chosen = select_instruments(settings, instruments)
    day = _Day(BarStore(lake, holds), store, settings, chosen, start)
    found = store.write(day, commit_key=f"retry_write/{date}/{uuid.uuid4().hex}")
    removed = sum(
        _remove_without_bars(day.bars, store, instrument, settings.strategy.interval, start)
        for instrument in chosen
    )
    if found.inserted + found.replaced + found.unchanged + removed == 0:
        raise NotFound(
            f"expected bars of {date}, was none of {', '.join(map(str, chosen))}: fetch them first"
        )
    return RewriteReport(
        date=date,
        instruments=tuple(map(str, chosen)),
        version=found.version,
        inserted=found.inserted,
        replaced=found.replaced,
        unchanged=found.unchanged,
        removed=removed,
    )


def _remove_without_bars(
    bars: BarStore, store: FeatureStore, instrument: InstrumentId, interval: Interval, start: datetime
) -> int:
    """Take out the day's feature rows that no bar stands behind, run by run of them."""
    end = start + timedelta(days=1)
    stood = bars.read([instrument], interval=interval, start=start, end=end, columns=["ts"])
    rows = store.load_features([instrument], interval=interval, start=start, end=end, columns=["ts"])
    orphans = rows.join(stood, on="ts", how="anti").sort("ts")
    breaks = (pl.col("ts").diff() != interval.delta).fill_null(value=True).cum_sum()
    spans = orphans.group_by(breaks.alias("span")).agg(first=pl.min("ts"), last=pl.max("ts"))
    return sum(
        store.remove(
            instrument,
            start=first,
            end=last + interval.delta,
            commit_key=f"retry_write/remove/{instrument}/{first.isoformat()}/{uuid.uuid4().hex}",
        )
        for first, last in spans.select("first", "last").sort("first").iter_rows()
    )


@dataclass(frozen=True, slots=True)
class _Day:
    """The day's frames, one instrument at a time, computed each time they are asked for."""

    bars: BarStore
    store: FeatureStore
    settings: Settings
    instruments: tuple[InstrumentId, ...]
    start: datetime

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for instrument in self.instruments:
            yield transform(
                self.bars,
                instrument,
                interval=self.settings.strategy.interval,
                start=self.start,
                end=self.start + timedelta(days=1),
                feature_set=self.store.feature_set,
            )


if __name__ == "__main__":
    raise SystemExit(command.run(retry_write))
