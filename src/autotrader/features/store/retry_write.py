"""Compute a day's features again: `python -m autotrader.features.store.retry_write --date 2024-02-29`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

import polars as pl

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.data.selection import select_instruments
from autotrader.domain.bars import Interval
from autotrader.domain.errors import ConfigurationError, NotFound
from autotrader.domain.instruments import InstrumentId
from autotrader.features.store.derivation import DAY, record_of, settle
from autotrader.features.store.store import FeatureStore
from autotrader.features.store.transform import affected_range, transform
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

    And of the bars after it that look back on it. Rows whose bars were taken back are removed. Running
    it twice changes nothing the second time.

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
    interval = settings.strategy.interval
    day = _Day(BarStore(lake, holds), store, interval, chosen, start)
    records = [record_of(day.bars.bars, instrument, [start], interval=interval) for instrument in chosen]
    rows = (
        store.rows.count_range(venue=i.venue.value, instruments=[i.symbol], start=start, end=start + DAY)
        for i in chosen
    )
    if not sum(record["bars"][0] for record in records) + sum(rows):
        raise NotFound(
            f"expected bars of {date}, was none of {', '.join(map(str, chosen))}: fetch them first"
        )
    found = store.write(day, commit_key=f"retry_write/{date}/{uuid.uuid4().hex}")
    removed = sum(settle(day.bars.bars, store, record) for record in records)
    return RewriteReport(
        date=date,
        instruments=tuple(map(str, chosen)),
        version=found.version,
        inserted=found.inserted,
        replaced=found.replaced,
        unchanged=found.unchanged,
        removed=removed,
    )


@dataclass(frozen=True, slots=True)
class _Day:
    """The day's frames, one instrument at a time, computed each time they are asked for."""

    bars: BarStore
    store: FeatureStore
    interval: Interval
    instruments: tuple[InstrumentId, ...]
    start: datetime

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for instrument in self.instruments:
            start, end = affected_range(
                self.bars,
                instrument,
                interval=self.interval,
                changed_start=self.start,
                changed_end=self.start + DAY,
            )
            yield transform(
                self.bars,
                instrument,
                interval=self.interval,
                start=start,
                end=end,
                feature_set=self.store.feature_set,
            )


if __name__ == "__main__":
    raise SystemExit(command.run(retry_write))
