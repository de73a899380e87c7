"""Show what comes live: `python -m autotrader.connectors.binance_ws stream --kind trade`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.domain.bars import Interval, floor_to
from autotrader.domain.errors import ConfigurationError, Unreachable
from autotrader.ports.clock import MarketClock, WallClock

if TYPE_CHECKING:
    from autotrader.connectors.binance_ws.source import BinanceSource


class StreamKind(StrEnum):
    KLINE = "kline"
    TRADE = "trade"
    DEPTH = "depth"


@dataclass(frozen=True, slots=True)
class Shown:
    """What came.

    Attributes
    ----------
    source : str
        Label of the data: `binance`, or what stands in for it.
    messages : tuple
        Closed bars, `Trade`, `Book`, and `Missed` where something did not come.
    missed : int
        How many of them are `Missed`.
    """

    kind: StreamKind
    source: str
    messages: tuple[Any, ...]
    missed: int


def stream(
    *,
    kind: StreamKind = StreamKind.KLINE,
    instruments: tuple[str, ...] = (),
    count: int = 10,
    seconds: float = 90.0,
    levels: int = 5,
    settings: Settings,
    market_clock: MarketClock,
    wall_clock: WallClock,
) -> command.Result:
    """Follow a live stream of Binance for a while, and show what came.

    Exit code 3 if nothing came in time.

    Parameters
    ----------
    kind : StreamKind
        Closed bars, single trades, or the order book after each update.
    instruments : tuple of str
        Symbols; those of the settings if left out.
    count : int
        Messages after which to stop.
    seconds : float
        After which to stop with what has come.
    levels : int
        Of each side of the book.
    """
    if count < 1 or seconds <= 0 or levels < 1:
        raise ConfigurationError(f"expected count, seconds and levels above 0, was {count, seconds, levels}")
    symbols = instruments or settings.binance.instruments
    messages = asyncio.run(_take(kind, symbols, count, seconds, levels, settings, market_clock, wall_clock))
    if not messages:
        raise Unreachable(
            f"expected a {kind.value} of {', '.join(symbols)} within {seconds:g} s, was none: "
            "check the symbols, or give it more time"
        )
    missed = sum("first_id" in message for message in messages)
    shown = Shown(kind, settings.binance.source, tuple(messages), missed)
    lines = [" ".join(f"{k}={v}" for k, v in message.items()) for message in messages]
    return command.Result(shown, "\n".join([f"source: {shown.source}", *lines]))


async def _take(
    kind: StreamKind,
    symbols: tuple[str, ...],
    count: int,
    seconds: float,
    levels: int,
    settings: Settings,
    market_clock: MarketClock,
    wall_clock: WallClock,
) -> list[dict[str, Any]]:
    from autotrader.connectors.binance_ws.source import BinanceSource

    source = BinanceSource(settings.binance, market_clock, wall_clock)
    taken: list[dict[str, Any]] = []
    try:
        messages = _messages(kind, symbols, levels, source, settings, market_clock, wall_clock)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), contextlib.aclosing(messages):
                async for message in messages:
                    taken.append(message)
                    if len(taken) >= count:
                        break
    finally:
        await source.aclose()
    return taken


async def _messages(
    kind: StreamKind,
    symbols: tuple[str, ...],
    levels: int,
    source: BinanceSource,
    settings: Settings,
    market_clock: MarketClock,
    wall_clock: WallClock,
) -> AsyncGenerator[dict[str, Any]]:
    from autotrader.connectors.binance_ws.bar_stream import BarStream
    from autotrader.connectors.binance_ws.decode import decode_page
    from autotrader.connectors.binance_ws.depth_stream import DepthStream
    from autotrader.connectors.binance_ws.trade_stream import TradeStream

    if kind is StreamKind.KLINE:
        bars = BarStream(source, settings.binance, market_clock, wall_clock)
        newest = floor_to(market_clock.now(), Interval.M1) - Interval.M1.delta
        pages = bars.closed_bars(dict.fromkeys(symbols, newest), Interval.M1)
        async with contextlib.aclosing(pages):
            async for page in pages:
                for row in decode_page(page).drop("venue", "spread").iter_rows(named=True):
                    yield row
    elif kind is StreamKind.TRADE:
        async with contextlib.aclosing(TradeStream(settings.binance).trades(symbols)) as trades:
            async for trade in trades:
                yield command.to_plain(trade)
    else:
        depth = DepthStream(source, settings.binance)
        async with contextlib.aclosing(depth.books(symbols, levels=levels)) as books:
            async for book in books:
                yield command.to_plain(book)


if __name__ == "__main__":
    raise SystemExit(command.run(stream))
