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
    """

    date: date
    instruments: tuple[str, ...]
    version: int
    inserted: int
    replaced: int
    unchanged: int


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

    Running it twice changes nothing the second time.

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
    if found.inserted + found.replaced + found.unchanged == 0:
        raise NotFound(
            f"expected bars of {date}, was none of {', '.join(map(str, chosen))}: fetch them first"
        )
    return RewriteReport(
        date, tuple(map(str, chosen)), found.version, found.inserted, found.replaced, found.unchanged
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
