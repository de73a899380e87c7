"""A platform in a folder, with venues and servers in memory: the steps as a DAG calls them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from autotrader import command
from autotrader.adapters.clocks import StandingMarketClock
from autotrader.adapters.file_archive import FileArchive
from autotrader.bootstrap import Container
from autotrader.config.settings import Settings
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.domain.instruments import Venue
from autotrader.features.store.store import FeatureStore
from autotrader.pipelines import data_steps, feature_steps
from autotrader.ports.clock import MarketClock
from autotrader.ports.market_data import MarketDataSource, PageDecoder
from autotrader.ports.places import Places
from tests.fakes.clocks import LiveAt
from tests.fakes.holds import InMemoryHolds
from tests.fakes.market_data import FailingSource, decode_page, made_bars

NOW = datetime(2024, 3, 1, tzinfo=UTC)
Plain = Any


def bars_of(venue: Venue, *symbols: str, hours: int = 60, end: datetime = NOW) -> dict[str, pl.DataFrame]:
    """Seeded minutes of each symbol until `end`."""
    start = end - timedelta(hours=hours)
    return {symbol: made_bars(venue, symbol, start, end, seed=i) for i, symbol in enumerate(symbols)}


@dataclass
class Platform:
    """Each method is a step; what goes in and comes out has been JSON, as between tasks."""

    settings: Settings
    bars: dict[Venue, dict[str, pl.DataFrame]]
    now: datetime = NOW
    live: bool = False
    down: set[Venue] = field(default_factory=set)
    fails: dict[str, tuple[int, Exception]] = field(default_factory=dict)
    holds: InMemoryHolds = field(default_factory=InMemoryHolds)
    asked: list[Venue] = field(default_factory=list)

    @classmethod
    def at(cls, home: Path, *symbols: str, **settings: Any) -> Platform:
        """One with Binance alone, whose first load is of two days."""
        given = {"binance": {"instruments": symbols}, "ingestion": {"initial_days": 2}} | settings
        bars = {Venue.BINANCE: bars_of(Venue.BINANCE, *symbols)}
        return cls(Settings(_env_file=None, home=home, **given), bars)

    @cached_property
    def places(self) -> Places:
        return Container(self.settings).place

    @property
    def lake(self) -> Lake:
        return Lake(self.places(self.settings.lake_uri))

    @property
    def archive(self) -> FileArchive:
        return FileArchive(self.places(self.settings.archive_uri))

    @property
    def clock(self) -> MarketClock:
        return LiveAt(self.now) if self.live else StandingMarketClock(self.now)

    @property
    def store(self) -> BarStore:
        return BarStore(self.lake, self.holds)

    @property
    def features(self) -> FeatureStore:
        return FeatureStore(self.lake, self.clock)

    def sources(self, venue: Venue) -> MarketDataSource:
        self.asked.append(venue)
        reachable = venue not in self.down
        source = FailingSource(venue, self.bars.get(venue, {}), self.clock, reachable=reachable)
        source.fails = self.fails
        return source

    def decoders(self, _: Venue) -> PageDecoder:
        return decode_page

    def plan(self, run_key: str = "run", **conf: Any) -> Plain:
        return plain(
            data_steps.plan_ingestion(
                run_key=run_key,
                **conf,
                settings=self.settings,
                lake=self.lake,
                holds=self.holds,
                clock=self.clock,
                sources=self.sources,
                places=self.places,
            )
        )

    def extract(self, work: Plain) -> Plain:
        return plain(
            data_steps.extract_market_data(
                work=work, sources=self.sources, decoders=self.decoders, places=self.places
            )
        )

    def archive_pages(self, work: Plain) -> Plain:
        return plain(data_steps.archive_raw_data(work=work, archive=self.archive, places=self.places))

    def validate(self, work: Plain) -> Plain:
        return plain(
            data_steps.validate_data(
                work=work,
                archive=self.archive,
                decoders=self.decoders,
                settings=self.settings,
                places=self.places,
            )
        )

    def validated(self, planned: Plain) -> Plain:
        """What the mapped steps make of the plan."""
        return [self.validate(self.archive_pages(self.extract(work))) for work in planned]

    def commit(self, validated: Plain, run_key: str = "run") -> Plain:
        return plain(
            data_steps.commit_bars(
                run_key=run_key,
                validated=validated,
                settings=self.settings,
                lake=self.lake,
                holds=self.holds,
                clock=self.clock,
                places=self.places,
            )
        )

    def transform(self, work: Plain) -> Plain:
        return plain(
            feature_steps.transform_features(
                work=work, lake=self.lake, holds=self.holds, feature_store=self.features, places=self.places
            )
        )

    def load(self, transformed: Plain, run_key: str = "run") -> Plain:
        return plain(
            feature_steps.load_to_feature_store(
                run_key=run_key,
                transformed=transformed,
                lake=self.lake,
                holds=self.holds,
                feature_store=self.features,
                places=self.places,
            )
        )

    def health(self, planned: Plain, validated: Plain, loaded: Plain, run_key: str = "run") -> Plain:
        return plain(
            feature_steps.check_data_health(
                run_key=run_key,
                planned=planned,
                validated=validated,
                loaded=loaded,
                settings=self.settings,
                lake=self.lake,
                holds=self.holds,
                feature_store=self.features,
                clock=self.clock,
                places=self.places,
            )
        )

    def run(self, run_key: str = "run", **conf: Any) -> Plain:
        """All steps; the last word."""
        planned = self.plan(run_key, **conf)
        validated = self.validated(planned)
        loaded = self.load([self.transform(work) for work in self.commit(validated, run_key)], run_key)
        return self.health(planned, validated, loaded, run_key)


def plain(result: object) -> Plain:
    """The result as the next task gets it."""
    return json.loads(json.dumps(command.to_plain(result)))
