"""Single trades that make up the bars: numbered, seeded, and adding up to them.

A bar's trades are as many as it counts, their quantities sum to its volume and those of takers who
bought to its taker volume; the first trades at the open, the last at the close, and from four trades
on one at each extreme. A bar of a single trade has one side only, whatever its taker share.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from autotrader.apps.exchange.klines import INTERVALS, KlineBook, epoch_ms
from autotrader.apps.exchange.market import Market
from autotrader.apps.exchange.minutes import price_at

_MINUTES_KEPT = 64
_SMALLEST = 1e-8  # quantities are written with eight decimals


@dataclass(frozen=True, slots=True)
class MinuteOfTrades:
    """Trades of one minute, in order.

    Attributes
    ----------
    first_id : int
    times_ms : int64 array (n,)
    prices, quantities : float64 arrays (n,)
    buyer_took : bool array (n,)
    """

    first_id: int
    times_ms: npt.NDArray[np.int64]
    prices: npt.NDArray[np.float64]
    quantities: npt.NDArray[np.float64]
    buyer_took: npt.NDArray[np.bool_]

    def event(self, symbol: str, i: int) -> dict[str, Any]:
        """The i-th trade as the trade stream tells it."""
        return {
            "e": "trade",
            "E": int(self.times_ms[i]),
            "s": symbol,
            "t": self.first_id + i,
            "p": f"{self.prices[i]:.8f}",
            "q": f"{self.quantities[i]:.8f}",
            "T": int(self.times_ms[i]),
            "m": not self.buyer_took[i],
            "M": True,
        }


class Tape:
    """The trades of a market; the same minute has the same trades, whenever it is asked for.

    Parameters
    ----------
    market : Market
    book : KlineBook
    """

    def __init__(self, market: Market, book: KlineBook) -> None:
        self._book = book
        self._steps = lru_cache(None)(market.steps)
        self._counted = lru_cache(None)(self._count)
        self._traded = lru_cache(_MINUTES_KEPT)(self._trade)

    def minute(self, symbol: str, opened: datetime) -> MinuteOfTrades | None:
        """Trades of the minute that opened then; None if nothing traded."""
        return self._traded(symbol, opened)

    def events(self, symbol: str, after: datetime, until: datetime) -> list[dict[str, Any]]:
        """Events of the trade stream, of trades at times in (after, until], at most a minute apart."""
        found = []
        for opened in sorted({instant.replace(second=0, microsecond=0) for instant in (after, until)}):
            minute = self._traded(symbol, opened)
            if minute is not None:
                span = [epoch_ms(after), epoch_ms(until)]
                first, stop = np.searchsorted(minute.times_ms, span, side="right")
                found += [minute.event(symbol, i) for i in range(int(first), int(stop))]
        return found

    def ids(self, symbol: str, opened: datetime, interval: str) -> tuple[int, int]:
        """First and last id of the bar that opened then; last < first where nothing traded."""
        opens, before = self._counted(symbol)
        first = int(before[opens.search_sorted(opened)])
        end = int(before[opens.search_sorted(opened + INTERVALS[interval])])
        return first + 1, end

    def _count(self, symbol: str) -> tuple[pl.Series, npt.NDArray[np.int64]]:
        """Opens of all minutes, and the number of trades before each and after all."""
        bars = self._book.minutes(symbol)
        counts = bars["trade_count"].to_numpy()
        return bars["ts"], np.concatenate(([0], np.cumsum(counts)))

    def _trade(self, symbol: str, opened: datetime) -> MinuteOfTrades | None:
        bar = self._book.closed(symbol, "1m", opened)
        row = bar.row(0, named=True) if bar is not None else {}
        if not row or row["trade_count"] < 1 or row["volume"] <= 0:
            return None
        opened_ms = epoch_ms(opened)
        rng = np.random.default_rng([zlib.crc32(symbol.encode()), opened_ms // 60_000])
        tick, lot = self._steps(symbol)
        n = row["trade_count"]
        bought, quantities = _sides(rng, row, n, lot)
        elapsed = np.arange(n) / max(1, n - 1)
        return MinuteOfTrades(
            first_id=self.ids(symbol, opened, "1m")[0],
            times_ms=opened_ms + ((np.arange(n) + 0.5) * 60_000 / n).astype(np.int64),
            prices=_prices(row, elapsed, bought, tick),
            quantities=quantities,
            buyer_took=bought,
        )


def _prices(
    bar: Mapping[str, Any], elapsed: npt.NDArray[np.float64], bought: npt.NDArray[np.bool_], tick: float
) -> npt.NDArray[np.float64]:
    """The path on the tick grid, a tick up where the buyer took and down where the seller did."""
    n = len(elapsed)
    path = price_at(bar, elapsed) + np.where(bought, tick, -tick)
    prices = np.clip(np.round(path / tick) * tick, bar["low"], bar["high"])
    if n >= 4:
        extremes = ("low", "high") if bar["close"] >= bar["open"] else ("high", "low")
        for name, at in zip(extremes, (1 / 3, 2 / 3), strict=True):
            prices[round((n - 1) * at)] = bar[name]
    prices[0], prices[-1] = bar["open"], bar["close"]
    return np.round(prices, 8)


def _sides(
    rng: np.random.Generator, bar: Mapping[str, Any], n: int, lot: float
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Who took, and how much, in whole lots; in smaller pieces where a side has fewer lots than trades."""
    total, taken = bar["volume"], min(bar["taker_buy_base"], bar["volume"])
    step = lot if round(total / lot) >= 4 * n else _SMALLEST
    units = round(total / step)
    buying = round(taken / step)
    if n == 1:
        return np.array([2 * buying > units]), np.array([total])
    buys = int(np.clip(round(n * buying / max(1, units)), int(buying > 0), n - int(buying < units)))
    buys = max(n - (units - buying), min(buys, buying))  # each trade has a unit at least
    bought = np.zeros(n, dtype=bool)
    bought[rng.permutation(n)[:buys]] = True
    quantities = np.empty(n)
    quantities[bought] = _split(rng, buying, buys)
    quantities[~bought] = _split(rng, units - buying, n - buys)
    return bought, np.round(quantities * step, 8)


def _split(rng: np.random.Generator, units: int, pieces: int) -> npt.NDArray[np.int64]:
    """Whole numbers of 1 or more that sum to `units`, spread as waiting times are."""
    if pieces == 0:
        return np.empty(0, dtype=np.int64)
    shares = rng.exponential(size=pieces)
    cuts = np.floor(np.cumsum(shares) / shares.sum() * (units - pieces)).astype(np.int64)
    cuts[-1] = units - pieces
    sizes: npt.NDArray[np.int64] = np.diff(cuts, prepend=0) + 1
    return sizes
