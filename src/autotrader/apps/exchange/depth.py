"""Order books around the bars' prices: seeded, and the same whenever they are asked for.

A book is a function of the instant alone, in steps of `STEP_MS`, and its number is the number of
steps since 1970: so snapshots, streams of any connection and restarts agree with one another. Levels
lie a fixed distance apart around the price at that instant; each has its size for a while.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np

from autotrader.apps.exchange.klines import MINUTE, KlineBook, epoch_ms
from autotrader.apps.exchange.market import Market
from autotrader.apps.exchange.minutes import price_at

LEVELS = 25  # of each side
STEP_MS = 100
_SIZE_LASTS = 30  # steps, of a level whose size does not change otherwise
_SPACING = 1e-5  # of the price, rounded down to a power of ten and to no less than a tick

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Side = dict[int, int]  # level's distance from 0 in spacings -> lots


class DepthBook:
    """The order books of a market.

    Parameters
    ----------
    market : Market
    book : KlineBook
    """

    def __init__(self, market: Market, book: KlineBook) -> None:
        self._book = book
        self._steps = lru_cache(None)(market.steps)

    def snapshot(self, symbol: str, now: datetime, limit: int) -> dict[str, Any]:
        """Answer of the depth endpoint; sides are empty before the first trade."""
        update_id = epoch_ms(now) // STEP_MS
        bids, asks, spacing, lot = self._sides(symbol, update_id)
        return {
            "lastUpdateId": update_id,
            "bids": _written(sorted(bids.items(), reverse=True)[:limit], spacing, lot),
            "asks": _written(sorted(asks.items())[:limit], spacing, lot),
        }

    def event(self, symbol: str, before: datetime, now: datetime) -> dict[str, Any]:
        """Event of the diff stream: all that changed after `before` up to `now`."""
        first, last = epoch_ms(before) // STEP_MS, epoch_ms(now) // STEP_MS
        old_bids, old_asks, old_spacing, _ = self._sides(symbol, first)
        bids, asks, spacing, lot = self._sides(symbol, last)
        gone: list[list[list[str]]] = [[], []]
        if old_spacing != spacing:
            gone = [_written(_changes(old, {}), old_spacing, lot) for old in (old_bids, old_asks)]
            old_bids, old_asks = {}, {}
        return {
            "e": "depthUpdate",
            "E": epoch_ms(now),
            "s": symbol,
            "U": first + 1,
            "u": last,
            "b": gone[0] + _written(_changes(old_bids, bids), spacing, lot),
            "a": gone[1] + _written(_changes(old_asks, asks), spacing, lot),
        }

    def _sides(self, symbol: str, step: int) -> tuple[Side, Side, float, float]:
        """Bids, asks, the distance of levels and the lot."""
        now = _EPOCH + timedelta(milliseconds=step * STEP_MS)
        tick, lot = self._steps(symbol)
        bar = self._book.last_traded(symbol, now)
        if bar is None:
            return {}, {}, tick, lot
        row = bar.row(0, named=True)
        elapsed = min(1.0, (now - row["ts"]) / MINUTE)
        mid = float(price_at(row, np.array([elapsed]))[0])
        spacing = max(tick, 10.0 ** np.floor(np.log10(row["open"] * _SPACING)))
        below = int(np.floor(mid / spacing + 1e-6))  # a price on the grid is not one below it
        typical = max(1.0, row["volume"] / lot / max(1, row["trade_count"]))
        buying = row["taker_buy_base"] / row["volume"] if row["volume"] > 0 else 0.5
        levels = np.arange(LEVELS)
        bids, asks = below - levels, below + 1 + levels
        bids = bids[bids > 0]
        return (
            _sized(symbol, "b", bids, step, typical * 2 * buying),
            _sized(symbol, "a", asks, step, typical * 2 * (1 - buying)),
            spacing,
            lot,
        )


def _sized(symbol: str, side: str, levels: Iterable[int], step: int, typical: float) -> Side:
    """Lots of each level: seeded by the level and by which of its periods this is."""
    sizes = {}
    for level in levels:
        own = zlib.crc32(f"{symbol}{side}{level}".encode())
        period = (step + own % _SIZE_LASTS) // _SIZE_LASTS
        drawn = zlib.crc32(period.to_bytes(8, "big"), own) / 2**32
        sizes[int(level)] = max(1, round(typical * (0.2 + 3.6 * drawn * drawn)))
    return sizes


def _changes(old: Side, new: Side) -> list[tuple[int, int]]:
    changed = [(level, lots) for level, lots in new.items() if old.get(level) != lots]
    return [(level, 0) for level in old if level not in new] + changed


def _written(levels: Iterable[tuple[int, int]], spacing: float, lot: float) -> list[list[str]]:
    return [[f"{level * spacing:.8f}", f"{lots * lot:.8f}"] for level, lots in levels]
