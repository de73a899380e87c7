"""Recorded market data for tests, read in place; tests that need it skip where it is absent."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from autotrader.domain.instruments import Venue

WINDOW_END = datetime(2024, 3, 1, tzinfo=UTC)


def folder() -> Path:
    """The folder of recorded bars."""
    named = os.environ.get("AUTOTRADER_MARKET_DATA")
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    found = Path(named) if named else beside
    if not found.is_dir():
        pytest.skip(f"needs recorded market data: neither AUTOTRADER_MARKET_DATA nor {beside} exists")
    return found


def bars(symbol: str, *, days: int = 107, end: datetime = WINDOW_END) -> pl.DataFrame:
    """The last `days` days of a Binance spot pair's 1-minute bars before `end`, in bar columns."""
    (path,) = (folder() / "binance_spot_1m").glob(f"{symbol}_1m_*.parquet")
    frame = pl.read_parquet(path).rename({"trades": "trade_count"})
    time = pl.col("ts").cast(pl.Datetime("us", "UTC"))
    venue = pl.lit(Venue.BINANCE.value)
    return (
        frame.with_columns(time, venue=venue, spread=pl.lit(None, pl.Float64))
        .filter(pl.col("ts") >= end - timedelta(days=days), pl.col("ts") < end)
        .sort("ts")
    )
