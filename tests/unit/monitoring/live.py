"""A live model in a small market: bars, features, a registry with a champion, served predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from autotrader.adapters.clocks import StandingMarketClock, SystemWallClock
from autotrader.command import Result
from autotrader.config.settings import MonitoringSettings, Settings
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.data.predictions import PredictionStore
from autotrader.data.schemas import PREDICTIONS
from autotrader.domain.bars import Interval
from autotrader.features.definitions import BALANCED, FeatureGroup
from autotrader.features.reference.files import SCORE, About, Baseline, Reference, save_reference
from autotrader.features.reference.making import make_profile
from autotrader.features.store.store import FeatureStore
from autotrader.monitoring.checks import Check
from autotrader.monitoring.feature_drift import check_drift
from autotrader.monitoring.health_check import health_check
from autotrader.monitoring.performance import check_performance
from autotrader.monitoring.quality import check_quality
from autotrader.ports.clock import MarketClock
from autotrader.ports.registry import Alias
from tests.fakes.events import InMemoryEventLog
from tests.fakes.holds import InMemoryHolds
from tests.fakes.registry import InMemoryRegistry
from tests.fakes.small_market import INSTRUMENTS, NOW, STRATEGY, Stores, features_of, market
from tests.models import candidate

DAYS = 64
LEARNT_UNTIL = NOW - timedelta(days=4)
MONITORED = [f.name for f in BALANCED.features if f.group is not FeatureGroup.TEMPORAL]
BASELINE = Baseline(5000, LEARNT_UNTIL, NOW, accuracy=0.5, mean_confidence=0.62, calibration_error=0.02)

Rows = Callable[[pl.DataFrame], pl.DataFrame]


def feature_rows() -> pl.DataFrame:
    """Features of both instruments, with a score that follows one of them; no row that warms up."""
    frames = [
        features_of(market(i.symbol, days=DAYS, momentum=0.0, seed=k)) for k, i in enumerate(INSTRUMENTS)
    ]
    return pl.concat(frames).filter(pl.all_horizontal(pl.col(MONITORED).is_not_nan())).sort(
        "venue", "instrument", "ts"
    )  # fmt: skip


def probabilities(rows: pl.DataFrame) -> pl.DataFrame:
    """A model that leans against the last move, and is sure of what it says where that was large."""
    up = (0.5 - 0.1 * pl.col("zscore_20")).clip(0.05, 0.9)
    return rows.with_columns(
        p_up=up.cast(pl.Float32), p_flat=pl.lit(0.05, pl.Float32), p_down=(0.95 - up).cast(pl.Float32)
    )


def make_reference() -> Reference:
    """Of the rows before LEARNT_UNTIL."""
    rows = probabilities(feature_rows()).filter(pl.col("ts") < LEARNT_UNTIL).sort("ts", "instrument")
    rows = rows.with_columns((pl.col("p_up") - pl.col("p_down")).alias(SCORE))
    ts = rows["ts"].dt.replace_time_zone(None).to_numpy()
    names = [str(i) for i in INSTRUMENTS]
    number = (rows["instrument"] == INSTRUMENTS[1].symbol).cast(pl.Int32).to_numpy()

    def profile(columns: list[str]) -> object:
        return make_profile(
            rows.select(columns).to_numpy(),
            names=columns,
            ts=ts,
            instrument=number,
            instruments=names,
            window_hours=24,
        )

    sample = [*BALANCED.names, SCORE]
    return Reference(
        about=About(
            feature_set=BALANCED.version,
            start=rows["ts"][0],
            end=rows["ts"][-1],
            learnt_until=LEARNT_UNTIL,
            interval=Interval.M5,
            horizon_minutes=STRATEGY.horizon_minutes,
            round_trip_cost_bps=STRATEGY.round_trip_cost_bps,
            labels=STRATEGY.labels.rule,
            sources=("recorded",),
            baseline=BASELINE,
        ),
        features=profile(MONITORED),  # type: ignore[arg-type]
        predictions=profile([SCORE]),  # type: ignore[arg-type]
        sample_names=tuple(sample),
        sample=rows.select(sample)[np.linspace(0, rows.height - 1, 400).astype(int).tolist()].to_numpy(),
    )


@dataclass
class Live:
    """Each method is a check, over stores on disk and a registry in memory."""

    home: Path
    reference: Reference
    settings: Settings = field(init=False)
    registry: InMemoryRegistry = field(default_factory=InMemoryRegistry)
    events: InMemoryEventLog = field(default_factory=InMemoryEventLog)
    clock: MarketClock = field(default_factory=lambda: StandingMarketClock(NOW))
    wall_clock: SystemWallClock = field(default_factory=SystemWallClock)

    def __post_init__(self) -> None:
        self.settings = Settings(
            home=self.home,
            strategy=STRATEGY,
            binance={"instruments": [i.symbol for i in INSTRUMENTS]},
            monitoring=MonitoringSettings(),
        )

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake_uri)

    @property
    def store(self) -> FeatureStore:
        return FeatureStore(self.lake, self.clock)

    @property
    def bars(self) -> BarStore:
        return BarStore(self.lake, InMemoryHolds())

    def fill(self) -> None:
        """Put the market into the lake."""
        frames = [market(i.symbol, days=DAYS, momentum=0.0, seed=k) for k, i in enumerate(INSTRUMENTS)]
        Stores.filled(self.home / "lake", [f.tail(8 * 288) for f in frames])

    def deploy(self, *, with_reference: bool = True) -> str:
        """Register a version and make it the champion."""
        folder = self.home / "made"
        given = candidate(folder, "first", "run1", name=STRATEGY.strategy_id)
        if with_reference:
            save_reference(self.reference, folder / "reference.npz")
            given = replace(given, attachments={"reference.npz": folder / "reference.npz"})
        made = self.registry.register(given, actor="test")
        self.registry.set_alias(STRATEGY.strategy_id, Alias.CHAMPION, made.semver, reason="go", actor="test")
        return made.semver

    def serve(self, *, hours: float = 24, until: timedelta = timedelta(0), change: Rows | None = None) -> int:
        """Answer requests for the last hours, with features as `change` leaves them; returns the rows."""
        end = NOW - until
        rows = feature_rows().filter(pl.col("ts") >= end - timedelta(hours=hours), pl.col("ts") < end)
        rows = probabilities(rows if change is None else change(rows)).with_columns(
            request_id=pl.format("r-{}-{}", "instrument", pl.col("ts").dt.epoch("s")),
            row=pl.lit(0, pl.Int32),
            received_at=pl.col("ts") + timedelta(minutes=5),
            version=pl.lit("v1.0.0"),
            color=pl.lit("blue"),
            replayed=pl.lit(value=False),
            feature_set=pl.lit(BALANCED.version),
        )
        PredictionStore(self.lake).append(rows.select(*PREDICTIONS, *BALANCED.names))
        return rows.height

    def drift(self) -> Check:
        return check_drift(self.settings, self.lake, self.registry, self.clock)

    def quality(self) -> Check:
        return check_quality(self.settings, self.lake, self.store, self.registry, self.clock)

    def performance(self) -> Check:
        return check_performance(self.settings, self.lake, self.bars, self.registry, self.clock)

    def report(self, *, distributions: bool = True) -> Result:
        """All of the checks as the command makes them, with the pages that it writes."""
        return health_check(
            distributions=distributions,
            settings=self.settings,
            lake=self.lake,
            holds=InMemoryHolds(),
            feature_store=self.store,
            registry=self.registry,
            events=self.events,
            clock=self.clock,
            wall_clock=self.wall_clock,
        )
