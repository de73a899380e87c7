"""Two instruments that wander, their bars and features in a real lake."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from autotrader.adapters.clocks import StandingMarketClock
from autotrader.config.settings import StrategySettings
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.data.schemas import BARS, TIMESTAMP
from autotrader.domain.bars import Interval
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.features.batch import compute
from autotrader.features.definitions import BALANCED
from autotrader.features.store.store import FeatureStore
from tests.fakes.holds import InMemoryHolds

INSTRUMENTS = (InstrumentId(Venue.BINANCE, "BTCUSDT"), InstrumentId(Venue.BINANCE, "ETHUSDT"))
NOW = datetime(2024, 3, 1, tzinfo=UTC)
STRATEGY = StrategySettings(interval=Interval.M5, horizon_minutes=60, round_trip_cost_bps=10)


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
