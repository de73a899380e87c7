"""A small market in a real lake, and a whole training run over it, for tests of training."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from autotrader.adapters.clocks import StandingMarketClock, SystemWallClock
from autotrader.config.settings import Environment, StrategySettings, TrainingSettings
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.data.schemas import BARS, TIMESTAMP
from autotrader.domain.bars import Interval
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.features.batch import compute
from autotrader.features.definitions import BALANCED
from autotrader.features.store.store import FeatureStore
from autotrader.training.dataset import PreparedData
from autotrader.training.evaluation import Evaluation, evaluate_models
from autotrader.training.preparation import prepare_training_data
from autotrader.training.search import FamilySearch, search_family
from autotrader.training.validation import Validation, validate_model
from tests.fakes.holds import InMemoryHolds
from tests.fakes.tracking import InMemoryTracker
from tests.fakes.trials import InMemoryTrialLedger

INSTRUMENTS = (InstrumentId(Venue.BINANCE, "BTCUSDT"), InstrumentId(Venue.BINANCE, "ETHUSDT"))
NOW = datetime(2024, 3, 1, tzinfo=UTC)
STRATEGY = StrategySettings(interval=Interval.M5, horizon_minutes=60, round_trip_cost_bps=10)
TRAINING = TrainingSettings(
    lookback_days=12,
    evaluation_days=60,
    fold_days=4,
    trials_per_model=3,
    sample_every_bars=3,
    models=("logistic", "hist_gradient_boosting"),
)


@functools.cache
def market(
    symbol: str, *, days: int, momentum: float, seed: int, source: str = "recorded", end: datetime = NOW
) -> pl.DataFrame:
    """Bars of 5 minutes in `BARS` columns; with momentum the mean of the last 20 returns goes on."""
    interval = Interval.M5.delta
    count = days * 24 * 12
    generator = np.random.default_rng(seed)
    noise = generator.normal(0, 1.5e-3, count)
    returns = noise.copy()
    for i in range(20, count):
        returns[i] += momentum * returns[i - 20 : i].mean()
    close = 100 * np.exp(np.cumsum(returns))
    open_ = np.concatenate([[100.0], close[:-1]])
    reach = generator.exponential(5e-4, (2, count))
    volume = generator.lognormal(8, 0.5, count)
    ts = [end - (count - k) * interval for k in range(count)]
    known = [t + interval + timedelta(seconds=2) for t in ts]
    return pl.DataFrame(
        {
            "venue": "binance",
            "instrument": symbol,
            "interval": "5m",
            "ts": pl.Series(ts, dtype=TIMESTAMP),
            "open": open_,
            "high": np.maximum(open_, close) * (1 + reach[0]),
            "low": np.minimum(open_, close) * (1 - reach[1]),
            "close": close,
            "volume": volume,
            "quote_volume": volume * close,
            "trade_count": pl.Series(np.full(count, 9)),
            "taker_buy_base": volume * generator.uniform(0.2, 0.8, count),
            "taker_buy_quote": volume * close / 2,
            "spread": pl.Series([None] * count, dtype=pl.Float64),
            "known_at": pl.Series(known, dtype=TIMESTAMP),
            "ingested_at": pl.Series([end] * count, dtype=TIMESTAMP),
            "source": source,
        }
    ).select(list(BARS))


@dataclass
class Stores:
    """Bars and features of a market, in a lake."""

    bars: BarStore
    features: FeatureStore

    @classmethod
    def filled(cls, folder: Path, frames: list[pl.DataFrame]) -> Stores:
        lake = Lake(str(folder))
        stores = cls(BarStore(lake, InMemoryHolds()), FeatureStore(lake, StandingMarketClock(NOW)))
        stores.bars.upsert(frames, commit_key="bars", seen_at=NOW)
        stores.features.write([features_of(frame) for frame in frames], commit_key="features")
        return stores


def features_of(bars: pl.DataFrame) -> pl.DataFrame:
    """Rows of the feature store for one instrument's bars."""
    key = bars.select("venue", "instrument", "interval", "ts", "known_at")
    frame = pl.concat([key, compute(bars).drop("ts")], how="horizontal")
    version = BALANCED.version
    return frame.with_columns(feature_set_version=pl.lit(version))


@dataclass
class TrainingRun:
    """All steps until the gates, each as often as it is asked for."""

    stores: Stores
    work: Path
    strategy: StrategySettings = STRATEGY
    training: TrainingSettings = TRAINING

    def __post_init__(self) -> None:
        self.ledger = InMemoryTrialLedger()
        self.tracker = InMemoryTracker()
        self.run_id = self.tracker.start_run(key="run", name="test")

    def prepare(self) -> PreparedData:
        return prepare_training_data(
            bars=self.stores.bars,
            features=self.stores.features,
            instruments=INSTRUMENTS,
            strategy=self.strategy,
            training=self.training,
            as_of=NOW,
            work=self.work,
        )

    def search(self, family: str) -> FamilySearch:
        return search_family(
            prepared=self.prepare(),
            family_name=family,
            strategy=self.strategy,
            training=self.training,
            ledger=self.ledger,
            tracker=self.tracker,
            run_id=self.run_id,
            wall_clock=SystemWallClock(),
            work=self.work,
        )

    def searches(self) -> list[FamilySearch]:
        return [self.search(family) for family in self.training.models]

    def evaluate(self, champion: Path | None = None) -> Evaluation:
        return evaluate_models(
            prepared=self.prepare(),
            searches=self.searches(),
            strategy=self.strategy,
            training=self.training,
            work=self.work,
            champion_onnx=champion,
        )

    def validate(
        self, environment: Environment = Environment.DEV, evaluation: Evaluation | None = None
    ) -> Validation:
        return validate_model(
            prepared=self.prepare(),
            searches=self.searches(),
            evaluation=evaluation or self.evaluate(),
            bars=self.stores.bars,
            ledger=self.ledger,
            tracker=self.tracker,
            run_id=self.run_id,
            strategy=self.strategy,
            environment=environment,
            judged_at=NOW,
            work=self.work,
        )


def signal_run(folder: Path) -> TrainingRun:
    """A market in which the past says much of the future: a model must find it."""
    return _run(folder, TRAINING, momentum=0.85, source="SIMULATED")


def noise_run(folder: Path) -> TrainingRun:
    """A random walk: no model may pass on it."""
    one = TRAINING.model_copy(update={"models": ("logistic",)})
    return _run(folder, one, momentum=0.0, source="recorded")


def _run(folder: Path, training: TrainingSettings, *, momentum: float, source: str) -> TrainingRun:
    frames = [
        market(i.symbol, days=24, momentum=momentum, seed=seed, source=source)
        for seed, i in enumerate(INSTRUMENTS)
    ]
    return TrainingRun(Stores.filled(folder / "lake", frames), folder / "work", training=training)
