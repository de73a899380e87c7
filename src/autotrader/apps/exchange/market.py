"""What the stand-in exchange trades: 1-minute bars of some symbols, from wherever they come."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import polars as pl

from autotrader.data.schemas import TIMESTAMP

# One row a minute that traded. All of them float64 that survive printing with eight decimals.
CANDLES: dict[str, pl.DataType | type[pl.DataType]] = {
    "ts": TIMESTAMP,
    "open": pl.Float64,
    "high": pl.Float64,
    "low": pl.Float64,
    "close": pl.Float64,
    "volume": pl.Float64,
    "quote_volume": pl.Float64,
    "trade_count": pl.Int64,
    "taker_buy_base": pl.Float64,
    "taker_buy_quote": pl.Float64,
}


class Market(Protocol):
    """Bars that never change: the same symbol gives the same frame, whenever it is asked."""

    @property
    def source(self) -> str:
        """`recorded` or `SIMULATED`: the label that every output of these bars must carry."""
        ...

    @property
    def symbols(self) -> Sequence[str]: ...

    @property
    def start(self) -> datetime:
        """Open of the oldest bar, UTC."""
        ...

    @property
    def end(self) -> datetime:
        """Close of the newest bar, UTC."""
        ...

    def candles(self, symbol: str) -> pl.DataFrame:
        """All 1-minute bars of the symbol: columns of `CANDLES`, sorted by `ts`, unique.

        Raises
        ------
        NotFound
            If the market does not have the symbol.
        BadData
            If what was recorded cannot be read.
        """
        ...

    def steps(self, symbol: str) -> tuple[float, float]:
        """Smallest step of the symbol's price and of its volume."""
        ...
