"""Bars for tests of features, without recorded data: a random walk in bar columns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autotrader.data.schemas import BARS, TIMESTAMP
from autotrader.features.batch import BarArrays, compute_arrays
from autotrader.features.definitions import BALANCED

START = datetime(2024, 2, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def walk(
    count: int = 700,
    *,
    seed: int = 0,
    price: float = 100.0,
    tick: float = 0.01,
    volatility: float = 1e-3,
    start: datetime = START,
    symbol: str = "BTCUSDT",
) -> pl.DataFrame:
    """Complete bars; small ticks make equal closes, as real ones have."""
    random = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(random.normal(0, volatility, count)))
    close = np.maximum(np.round(close / tick), 1) * tick
    open_ = np.concatenate([close[:1], close[:-1]])
    reach = np.round(random.exponential(volatility, (2, count)) * price / tick) * tick
    high = np.maximum(open_, close) + reach[0]
    low = np.maximum(np.minimum(open_, close) - reach[1], tick)
    volume = random.exponential(10, count)
    opens = [start + k * MINUTE for k in range(count)]
    return pl.DataFrame(
        {
            "venue": "binance",
            "instrument": symbol,
            "interval": "1m",
            "ts": pl.Series(opens, dtype=TIMESTAMP),
            "open": open_,
            "high": high,
            "low": low,
            "close": close,
            "volume": volume,
            "quote_volume": volume * close,
            "trade_count": pl.Series(np.full(count, 5)),
            "taker_buy_base": volume * random.uniform(0, 1, count),
            "taker_buy_quote": volume * close / 2,
            "spread": pl.Series([None] * count, dtype=pl.Float64),
            "known_at": pl.Series([t + MINUTE + timedelta(seconds=2) for t in opens], dtype=TIMESTAMP),
            "ingested_at": pl.Series([start + timedelta(days=30)] * count, dtype=TIMESTAMP),
            "source": "recorded",
        },
    ).select(list(BARS))


def with_gaps(bars: pl.DataFrame, *, kept: float, seed: int = 0) -> pl.DataFrame:
    """The bars without some of them, drawn one by one and in runs of up to a day."""
    random = np.random.default_rng(seed)
    stays = random.random(bars.height) < kept
    for begin in random.integers(0, bars.height, max(bars.height // 400, 1)):
        stays[begin : begin + int(random.integers(1, 120))] = False
    return bars.filter(pl.Series(stays))


def exact(bars: pl.DataFrame) -> pl.DataFrame:
    """Features before they are rounded to float32."""
    values = compute_arrays(BarArrays.from_frame(bars), dtype=np.float64)
    return pl.DataFrame(values.T, schema=list(BALANCED.names), orient="row").insert_column(0, bars["ts"])


def same_bits(one: NDArray[np.floating], other: NDArray[np.floating]) -> bool:
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=True)
