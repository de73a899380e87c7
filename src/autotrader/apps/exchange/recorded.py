"""A market of recorded bars: parquet files in a folder, read in place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from autotrader.apps.exchange.market import CANDLES
from autotrader.domain.errors import BadData, NotFound

_NAMES = {"trades": "trade_count"}
_LABELS = ("instrument", "venue", "interval")
_SPOT = ("binance", "binance_spot")
MINUTES_LOOKED_AT = 10_000  # to see by which steps prices and volumes move


class RecordedMarket:
    """Every file below the folder that holds 1-minute bars of Binance spot pairs.

    A file says what it holds in its columns `instrument`, `venue` (`binance` or `BINANCE_SPOT`) and
    `interval` (`1m`); others are passed over. Several files of one symbol are joined; where they
    overlap, the one whose name sorts last stands.

    Parameters
    ----------
    folder : Path
        Searched with its subfolders.

    Raises
    ------
    NotFound
        If there is no such file in the folder.
    BadData
        If a parquet file cannot be read.
    """

    source = "recorded"

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, list[Path]] = {}
        for path in sorted(folder.rglob("*.parquet")):
            symbol = _spot_symbol(path)
            if symbol:
                self._files.setdefault(symbol, []).append(path)
        if not self._files:
            raise NotFound(
                f"expected parquet files of Binance spot 1m bars in {folder}, found none: name another folder"
            )
        self.symbols: Sequence[str] = tuple(self._files)
        first, last = self._span()
        self.start: datetime = first
        self.end: datetime = last + timedelta(minutes=1)

    def candles(self, symbol: str) -> pl.DataFrame:
        if symbol not in self._files:
            raise NotFound(f"expected one of {', '.join(self.symbols)}, was {symbol}")
        frame = pl.concat([_read(path) for path in self._files[symbol]])
        frame = frame.unique("ts", keep="last", maintain_order=True).sort("ts")
        empty = [name for name, count in frame.null_count().row(0, named=True).items() if count]
        if empty:
            raise BadData(f"expected all kline fields of {symbol}, was null in {', '.join(empty)}")
        return frame

    def steps(self, symbol: str) -> tuple[float, float]:
        bars = self.candles(symbol).tail(MINUTES_LOOKED_AT)
        return _step(bars["close"]), _step(bars["volume"])

    def _span(self) -> tuple[datetime, datetime]:
        paths = [path for files in self._files.values() for path in files]
        span = pl.scan_parquet(paths, extra_columns="ignore", missing_columns="insert").select(
            first=pl.col("ts").min().cast(CANDLES["ts"]), last=pl.col("ts").max().cast(CANDLES["ts"])
        )
        return span.collect().row(0)


def _spot_symbol(path: Path) -> str | None:
    try:
        columns = pl.read_parquet_schema(path)
        if not {*_LABELS, "ts", "open", "high", "low", "close"} <= set(columns):
            return None
        labels = pl.read_parquet(path, columns=list(_LABELS), n_rows=1)
    except (pl.exceptions.PolarsError, OSError) as failure:
        raise BadData(f"expected a parquet file at {path}, was unreadable: {failure}") from failure
    if labels.is_empty():
        return None
    symbol, venue, interval = labels.row(0)
    return str(symbol) if interval == "1m" and str(venue).lower() in _SPOT else None


def _read(path: Path) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path)
        return frame.rename(_NAMES, strict=False).select(
            pl.col(name).cast(kind) for name, kind in CANDLES.items()
        )
    except (pl.exceptions.PolarsError, OSError) as failure:
        raise BadData(f"expected bars with {', '.join(CANDLES)} in {path}: {failure}") from failure


def _step(values: pl.Series) -> float:
    """The coarsest power of ten that all of the values are multiples of; at least 1e-8."""
    decimals = next((d for d in range(8) if (values.round(d) == values).all()), 8)
    return float(10.0**-decimals)
