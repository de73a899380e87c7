"""What each kind of stream says, and when: klines, trades, differences of the order book.

A feed speaks at whole multiples of its step of market time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import polars as pl

from autotrader.apps.exchange.depth import DepthBook
from autotrader.apps.exchange.klines import INTERVALS, KlineBook, epoch_ms
from autotrader.apps.exchange.market import Market
from autotrader.apps.exchange.trades import Tape

UPDATES_PER_BAR = 4  # the last of them says that the bar has closed; the venue sends one every 2 s

_STREAM = re.compile(
    r"(?P<symbol>[a-z0-9]+)@(kline_(?P<interval>\d+[mhd])|(?P<trade>trade)|depth(?P<quick>@100ms)?)"
)
_TENTH, _SECOND = timedelta(milliseconds=100), timedelta(seconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Message:
    """An event, and where a fault may befall it.

    Attributes
    ----------
    fault_path : str or None
        See `faults.Fault.path`; None: no fault befalls it.
    at_ms : int
        Of the bar's open, or of the event.
    """

    event: dict[str, Any]
    fault_path: str | None
    at_ms: int


class Feed(Protocol):
    """One stream."""

    @property
    def symbol(self) -> str: ...

    @property
    def step(self) -> timedelta: ...

    def messages(self, instant: datetime) -> Iterator[Message]:
        """What it says at the instant, which is a multiple of the step."""
        ...


class Feeds:
    """All streams of a market.

    Parameters
    ----------
    market : Market
    book : KlineBook
    depth : DepthBook
    """

    def __init__(self, market: Market, book: KlineBook, depth: DepthBook) -> None:
        self._market, self._book, self._depth = market, book, depth
        self._tape = Tape(market, book)

    def open(self, stream: str) -> Feed | None:
        """The stream of that name, such as `btcusdt@trade`; None if there is none."""
        asked = _STREAM.fullmatch(stream)
        symbol = asked["symbol"].upper() if asked else ""
        if asked is None or symbol not in self._market.symbols:
            return None
        if asked["trade"]:
            return TradeFeed(symbol, self._tape)
        interval = asked["interval"]
        if interval is None:
            return DepthFeed(symbol, self._depth, _TENTH if asked["quick"] else _SECOND)
        return KlineFeed(symbol, interval, self._book, self._tape) if interval in INTERVALS else None


@dataclass(frozen=True, slots=True)
class KlineFeed:
    """Updates of the open bar, then the closed one."""

    symbol: str
    interval: str
    book: KlineBook
    tape: Tape

    @property
    def step(self) -> timedelta:
        return INTERVALS[self.interval] / UPDATES_PER_BAR

    def messages(self, instant: datetime) -> Iterator[Message]:
        width = INTERVALS[self.interval]
        closed = (instant - _EPOCH) % width == timedelta(0)
        if closed:
            bar = self.book.closed(self.symbol, self.interval, instant - width)
        else:
            bar = self.book.in_progress(self.symbol, self.interval, instant)
        if bar is not None:
            event = self._event(bar, instant, closed=closed)
            yield Message(event, "stream" if closed else None, event["k"]["t"])

    def _event(self, bar: pl.DataFrame, instant: datetime, *, closed: bool) -> dict[str, Any]:
        row = bar.row(0, named=True)
        opened = epoch_ms(row["ts"])
        first_id, _ = self.tape.ids(self.symbol, row["ts"], self.interval)
        traded = row["trade_count"] > 0
        return {
            "e": "kline",
            "E": epoch_ms(instant),
            "s": self.symbol,
            "k": {
                "t": opened,
                "T": opened + int(INTERVALS[self.interval].total_seconds() * 1000) - 1,
                "s": self.symbol,
                "i": self.interval,
                "f": first_id if traded else -1,
                "L": first_id + row["trade_count"] - 1 if traded else -1,
                "o": f"{row['open']:.8f}",
                "c": f"{row['close']:.8f}",
                "h": f"{row['high']:.8f}",
                "l": f"{row['low']:.8f}",
                "v": f"{row['volume']:.8f}",
                "n": row["trade_count"],
                "x": closed,
                "q": f"{row['quote_volume']:.8f}",
                "V": f"{row['taker_buy_base']:.8f}",
                "Q": f"{row['taker_buy_quote']:.8f}",
                "B": "0",
            },
        }


@dataclass(frozen=True, slots=True)
class TradeFeed:
    """Each trade, up to a tenth of a second after it."""

    symbol: str
    tape: Tape
    step: timedelta = _TENTH

    def messages(self, instant: datetime) -> Iterator[Message]:
        for event in self.tape.events(self.symbol, instant - self.step, instant):
            yield Message(event, "trade_stream", event["T"])


@dataclass(frozen=True, slots=True)
class DepthFeed:
    """What changed in the order book since the step before."""

    symbol: str
    depth: DepthBook
    step: timedelta

    def messages(self, instant: datetime) -> Iterator[Message]:
        event = self.depth.event(self.symbol, instant - self.step, instant)
        if event["b"] or event["a"]:
            yield Message(event, "depth_stream", event["E"])


def next_instant(instant: datetime, step: timedelta) -> datetime:
    """The first multiple of the step after the instant."""
    return instant + step - (instant - _EPOCH) % step
