"""A venue in memory and a platform in a folder, for the tests of ingestion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from autotrader.adapters.clocks import StandingMarketClock
from autotrader.adapters.file_archive import FileArchive
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.domain.bars import Interval
from autotrader.domain.instruments import Venue
from autotrader.ingestion.commit import quarantine_table
from autotrader.ingestion.run import Ingested, ingest
from autotrader.ingestion.windows import Assignment
from autotrader.ports.market_data import MarketDataSource, PageDecoder
from tests.fakes.holds import InMemoryHolds
from tests.fakes.market_data import InMemorySource, decode_page, made_bars

START = datetime(2024, 2, 1, tzinfo=UTC)
END = START + timedelta(hours=6)
NOW = START + timedelta(days=2)
LATENCY = timedelta(seconds=2)


def market(
    *symbols: str, start: datetime = START, end: datetime = END, seed: int = 7
) -> dict[str, pl.DataFrame]:
    """Seeded bars of each symbol."""
    return {s: made_bars(Venue.BINANCE, s, start, end, seed=seed) for s in symbols or ("BTCUSDT", "ETHUSDT")}


def assignment(symbol: str = "BTCUSDT", *, start: datetime = START, end: datetime = END) -> Assignment:
    return Assignment(Venue.BINANCE, symbol, Interval.M1, start, end)


@dataclass
class Platform:
    """Archive, lake, holds and staging below one folder, and a venue that serves `bars`."""

    folder: Path
    bars: Mapping[str, pl.DataFrame]
    now: datetime = NOW
    page_bars: int = 100
    holds: InMemoryHolds = field(default_factory=InMemoryHolds)
    opened: list[InMemorySource] = field(default_factory=list)

    @property
    def archive(self) -> FileArchive:
        return FileArchive(str(self.folder / "archive"))

    @property
    def lake(self) -> Lake:
        return Lake(str(self.folder / "lake"))

    @property
    def store(self) -> BarStore:
        return BarStore(self.lake, self.holds)

    @property
    def clock(self) -> StandingMarketClock:
        return StandingMarketClock(self.now)

    @property
    def staging(self) -> Path:
        return self.folder / "staging"

    def sources(self, venue: Venue) -> MarketDataSource:
        self.opened.append(InMemorySource(venue, self.bars, self.clock, page_bars=self.page_bars))
        return self.opened[-1]

    def decoders(self, venue: Venue) -> PageDecoder:
        return decode_page

    def ingest(self, *assignments: Assignment, run: str = "run") -> Ingested:
        return ingest(
            assignments,
            sources=self.sources,
            decoders=self.decoders,
            archive=self.archive,
            lake=self.lake,
            holds=self.holds,
            staging=self.staging / run,
            latency=LATENCY,
        )

    def tables(self) -> dict[str, pl.DataFrame]:
        """Every row of what ingestion writes."""
        return {
            "bars": self.store.bars.read(),
            "bars_history": self.store.history.read(),
            "quarantine": quarantine_table(self.lake).read(),
        }
