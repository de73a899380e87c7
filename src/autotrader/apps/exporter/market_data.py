"""How the lake is: how far behind, what is missing, what was refused, what came in."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import numpy as np

from autotrader.apps.exporter.reading import Reading, Rising
from autotrader.config.settings import Settings
from autotrader.data.bars import BarStore
from autotrader.data.calendars import expected_opens
from autotrader.data.freshness import freshness, overdue
from autotrader.data.lake import Lake
from autotrader.domain.instruments import InstrumentId
from autotrader.features.store.store import FeatureStore
from autotrader.ingestion.commit import quarantine_table
from autotrader.ports.clock import MarketClock
from autotrader.ports.holds import Holds

WINDOW = timedelta(days=1)


class MarketData:
    """Reads the tables' logs at each look, their rows only when a commit has been made.

    The checked window of an instrument is the day that ends with its newest bar: what is not loaded
    yet is late, which freshness tells, and not missing.
    """

    def __init__(
        self, settings: Settings, lake: Lake, holds: Holds, features: FeatureStore, clock: MarketClock
    ) -> None:
        self._settings = settings
        self._bars = BarStore(lake, holds)
        self._quarantine = quarantine_table(lake)
        self._features = features
        self._clock = clock
        self._stored: dict[str, Rising] | None = None
        self._versions: tuple[int | None, int | None] | None = None
        self._shares: dict[InstrumentId, tuple[float | None, float | None]] = {}
        self._latency: dict[str, float] = {}

    def read(self, reading: Reading) -> None:
        """Add what the lake says.

        Raises
        ------
        DependencyError, BadData
            If it cannot be read.
        """
        interval, now = self._settings.strategy.interval, self._clock.now()
        newest: dict[InstrumentId, datetime | None] = {}
        for instrument in self._settings.instruments():
            newest[instrument] = self._bars.high_water_mark(instrument, interval)
            features = self._features.high_water_mark(instrument, interval)
            for name, mark in (
                ("bars_freshness_seconds", newest[instrument]),
                ("feature_freshness_seconds", features),
            ):
                behind = freshness(instrument.venue, interval, mark, now).behind
                reading.add(name, _seconds(behind), instrument=str(instrument))
            late = overdue(instrument.venue, interval, features, self._clock)
            reading.add("feature_overdue_seconds", _seconds(late), instrument=str(instrument))
        self._count(reading)
        versions = (self._bars.version(), self._quarantine.version())
        if versions != self._versions:
            self._shares = {i: self._shares_of(i, mark) for i, mark in newest.items() if mark is not None}
            self._latency = {} if self._clock.is_replay else self._latencies(newest)
            self._versions = versions
        for instrument, (missing, refused) in self._shares.items():
            reading.add("bars_missing_ratio", missing, instrument=str(instrument))
            reading.add("bars_quarantined_ratio", refused, instrument=str(instrument))
        for venue, seconds in self._latency.items():
            reading.add("ingestion_latency_seconds", seconds, venue=venue)

    def _count(self, reading: Reading) -> None:
        """Rows that came in since the exporter began; those that were taken back had come in, too."""
        rows = {
            "/".join(partition): (partition[0], count)
            for partition, (_, _, count) in self._bars.bars.spans().items()
        }
        if self._stored is None:
            self._stored = {name: Rising() for name in rows}
            for name, (_, count) in rows.items():
                self._stored[name].see(count)
                self._stored[name].total = 0.0
        totals: Counter[str] = Counter({venue.value: 0 for venue in self._settings.venues})
        for name, (venue, count) in rows.items():
            totals[venue] += int(self._stored.setdefault(name, Rising()).see(count))
        for venue, total in totals.items():
            reading.add("ingestion_rows_total", total, venue=venue)

    def _shares_of(self, instrument: InstrumentId, newest: datetime) -> tuple[float | None, float | None]:
        """Missing and refused shares of the window."""
        interval = self._settings.strategy.interval
        end = newest + interval.delta
        spans = self._bars.bars.spans(
            venue=instrument.venue.value, instrument=instrument.symbol, interval=interval.value
        )
        start = max(end - WINDOW, min(first for first, _, _ in spans.values()))
        present, refused = (
            table.read(
                venue=instrument.venue.value,
                instruments=[instrument.symbol],
                interval=interval.value,
                start=start,
                end=end,
                columns=["ts"],
            )["ts"].unique()
            for table in (self._bars.bars, self._quarantine)
        )
        expected = expected_opens(instrument.venue, interval, start, end)
        there = np.isin(expected, present.dt.replace_time_zone(None).to_numpy())
        missing = 1 - float(there.mean()) if len(expected) else None
        seen = len(refused) + len(present)
        return missing, len(refused) / seen if seen else None

    def _latencies(self, newest: dict[InstrumentId, datetime | None]) -> dict[str, float]:
        """By venue, of its instrument that waited longest."""
        interval = self._settings.strategy.interval
        found: dict[str, float] = {}
        for instrument, mark in newest.items():
            if mark is None:
                continue
            rows = self._bars.bars.read(
                venue=instrument.venue.value,
                instruments=[instrument.symbol],
                interval=interval.value,
                start=mark,
                columns=["ingested_at"],
            )
            waited = (rows["ingested_at"][0] - mark - interval.delta).total_seconds()
            found[instrument.venue.value] = max(waited, found.get(instrument.venue.value, 0.0))
        return found


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else span.total_seconds()
