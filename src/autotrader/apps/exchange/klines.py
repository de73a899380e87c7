"""Bars in the venue's own notation: cut, paged and written as Binance's klines are.

A whole symbol is written once, natively and in a tenth of a second, and pages are slices of that
text: what a page costs is copying its bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import polars as pl

from autotrader.apps.exchange.market import CANDLES, Market
from autotrader.apps.exchange.minutes import corners, price_at

# Intervals of fixed length that start at midnight UTC. Of Binance's own, 1s is not kept (bars are of
# a minute) and 3d, 1w, 1M are left out.
INTERVALS = {
    name: timedelta(minutes=minutes)
    for name, minutes in {
        "1m": 1,
        "3m": 3,
        "5m": 5,
        "15m": 15,
        "30m": 30,
        "1h": 60,
        "2h": 120,
        "4h": 240,
        "6h": 360,
        "8h": 480,
        "12h": 720,
        "1d": 1440,
    }.items()
}
MINUTE = INTERVALS["1m"]

_SERIES_KEPT = 12  # in memory: about 25 MB for 100 days of minutes, written
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Window:
    """What a request asked for: open times from start to end, both inclusive, in ms."""

    start_ms: int | None
    end_ms: int | None
    limit: int

    def holds(self, open_ms: int) -> bool:
        after = self.start_ms is None or self.start_ms <= open_ms
        return after and (self.end_ms is None or open_ms <= self.end_ms)


@dataclass(frozen=True, slots=True)
class Written:
    """All bars of a symbol and interval, as text.

    Attributes
    ----------
    opens_ms : int64[n]
        Open times, ascending.
    text : bytes
        The rows, joined by commas.
    ends : int64[n]
        Where each row ends in `text`, its comma not included.
    """

    opens_ms: npt.NDArray[np.int64]
    text: bytes
    ends: npt.NDArray[np.int64]

    def rows(self, first: int, stop: int) -> bytes:
        """Rows `first` to `stop` - 1, joined by commas."""
        if first >= stop:
            return b""
        return self.text[int(self.ends[first - 1]) + 1 if first else 0 : int(self.ends[stop - 1])]


class KlineBook:
    """A market's bars, as the venue shows them at a market time.

    Parameters
    ----------
    market : Market

    Attributes
    ----------
    minutes : callable
        Symbol to all of its 1-minute bars, as `Market.candles`.
    """

    def __init__(self, market: Market) -> None:
        self.minutes = lru_cache(_SERIES_KEPT)(market.candles)
        self._written = lru_cache(_SERIES_KEPT)(self._write)

    def page(self, symbol: str, interval: str, window: Window, now: datetime) -> bytes:
        """The JSON array of the window's rows, oldest first, the bar in progress among them.

        With a start: the oldest `limit` rows from there on. Without: the newest `limit` rows up to
        the end.
        """
        written = self._written(symbol, interval)
        last_closed_ms = epoch_ms(now - INTERVALS[interval])
        opens = written.opens_ms[: np.searchsorted(written.opens_ms, last_closed_ms, side="right")]
        first = 0 if window.start_ms is None else int(np.searchsorted(opens, window.start_ms, side="left"))
        stop = (
            len(opens) if window.end_ms is None else int(np.searchsorted(opens, window.end_ms, side="right"))
        )
        current = self.in_progress(symbol, interval, now)
        asked = current is not None and window.holds(epoch_ms(current["ts"].item()))
        if window.start_ms is None:
            first = max(0, stop - (window.limit - asked))
        elif stop - first + asked > window.limit:
            stop, asked = first + window.limit, False
        rows = [written.rows(first, stop)]
        if current is not None and asked:
            rows.append(kline_rows(current, interval)[0].encode())
        return b"[" + b",".join(filter(None, rows)) + b"]"

    def in_progress(self, symbol: str, interval: str, now: datetime) -> pl.DataFrame | None:
        """The bar that is open at `now`, as far as it has come; None before its first trade.

        Within a minute, price goes as `minutes` says, and volume comes evenly.
        """
        bars = self.minutes(symbol)
        begin = now - (now - _EPOCH) % INTERVALS[interval]
        first, stop = bars["ts"].search_sorted(begin), bars["ts"].search_sorted(now)
        if first == stop:
            return None
        part = bars.slice(first, stop - first)
        elapsed = (now - part["ts"][-1]) / MINUTE
        if elapsed < 1:
            part = pl.concat([part.head(-1), _unfinished(part.tail(1), elapsed)])
        return aggregate(part, interval)

    def closed(self, symbol: str, interval: str, opened: datetime) -> pl.DataFrame | None:
        """The whole bar that opened then; None if nothing traded."""
        bars = self.minutes(symbol)
        first = bars["ts"].search_sorted(opened)
        stop = bars["ts"].search_sorted(opened + INTERVALS[interval])
        return aggregate(bars.slice(first, stop - first), interval) if stop > first else None

    def last_traded(self, symbol: str, opened: datetime) -> pl.DataFrame | None:
        """The newest minute that opened then or before; None if nothing had traded yet."""
        bars = self.minutes(symbol)
        stop = bars["ts"].search_sorted(opened, side="right")
        return bars.slice(stop - 1, 1) if stop else None

    def _write(self, symbol: str, interval: str) -> Written:
        bars = aggregate(self.minutes(symbol), interval)
        rows = kline_rows(bars, interval)
        ends = np.cumsum(rows.str.len_bytes().to_numpy().astype(np.int64) + 1) - 1
        opens = bars["ts"].dt.epoch("ms").to_numpy()
        return Written(opens, (rows.str.join(",")[0] or "").encode(), ends)


def aggregate(minutes: pl.DataFrame, interval: str) -> pl.DataFrame:
    """Bars of the interval from bars of a minute."""
    if interval == "1m":
        return minutes
    return minutes.group_by_dynamic("ts", every=interval).agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume", "quote_volume", "trade_count", "taker_buy_base", "taker_buy_quote").sum(),
    )


def kline_rows(bars: pl.DataFrame, interval: str) -> pl.Series:
    """Each bar as the JSON array of a REST kline, decimals as text with eight places."""
    eight_places = [_eight_places(name) for name, kind in CANDLES.items() if kind == pl.Float64]
    opened = pl.col("ts").dt.epoch("ms")
    closed = opened + int(INTERVALS[interval].total_seconds() * 1000) - 1
    row = pl.format(
        '[{},"{}","{}","{}","{}","{}",{},"{}",{},"{}","{}","0"]',
        opened,
        "open",
        "high",
        "low",
        "close",
        "volume",
        closed,
        "quote_volume",
        "trade_count",
        "taker_buy_base",
        "taker_buy_quote",
    )
    return bars.select(CANDLES.keys()).with_columns(*eight_places).select(row=row)["row"]


def epoch_ms(instant: datetime) -> int:
    """Milliseconds since 1970, rounded down."""
    return (instant - _EPOCH) // timedelta(milliseconds=1)


def _eight_places(name: str) -> pl.Expr:
    """A column of non-negative numbers as text that reads as the same numbers again.

    Whole and fraction are written apart, since a cast to decimals multiplies by 10^8 in floating
    point, which is wrong in the last digits from 9e7 on.
    """
    whole = pl.col(name).floor()
    parts = ((pl.col(name) - whole) * 1e8).round().cast(pl.Int64)
    carried = whole.cast(pl.Int64) + parts // 10**8
    return pl.format("{}.{}", carried, (parts % 10**8).cast(pl.String).str.zfill(8)).alias(name)


def _unfinished(minute: pl.DataFrame, elapsed: float) -> pl.DataFrame:
    bar = minute.row(0, named=True)
    price = round(float(price_at(bar, np.array([elapsed]))[0]), 8)
    seen = [*corners(bar)[: int(elapsed * 3) + 1], price]
    come = pl.col("volume", "quote_volume", "taker_buy_base", "taker_buy_quote") * elapsed
    return minute.with_columns(
        come.round(8),
        high=pl.lit(max(seen)),
        low=pl.lit(min(seen)),
        close=pl.lit(price),
        trade_count=(pl.col("trade_count") * elapsed).cast(pl.Int64),
    )
