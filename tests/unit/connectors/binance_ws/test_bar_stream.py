"""Live bars over a real socket: each closed bar once, in order, whatever happens to the connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta

import polars as pl
import pytest

from autotrader.adapters.clocks import SystemWallClock
from autotrader.apps.exchange.faults import Fault, FaultKind
from autotrader.apps.exchange.market import CANDLES
from autotrader.apps.exchange.server import StandInExchange, running
from autotrader.apps.exchange.simulated import SimulatedMarket
from autotrader.config.settings import BinanceSettings
from autotrader.connectors.binance_ws.bar_stream import BarStream
from autotrader.connectors.binance_ws.decode import KLINE_EVENT, KLINES, decode_page
from autotrader.connectors.binance_ws.source import BinanceSource
from autotrader.domain.bars import Interval
from autotrader.domain.errors import Unreachable
from autotrader.ports.market_data import RawPage

from .conftest import MARKET_END, QUICK

SOON = 60.0  # seconds, for what the stand-in does in milliseconds
MINUTE = timedelta(minutes=1)
NOW = MARKET_END - timedelta(hours=1)
FIRST = NOW - 5 * MINUTE


class ClockOf:
    """Market time as the exchange has it."""

    is_replay = True

    def __init__(self, exchange: StandInExchange) -> None:
        self._exchange = exchange

    def now(self) -> datetime:
        return self._exchange.clock.now()


class Follower:
    """Takes pages from a stream, and remembers them."""

    def __init__(self, pages: AsyncIterator[RawPage]) -> None:
        self._pages = pages
        self.seen: list[RawPage] = []

    async def until(self, symbol: str, end: datetime) -> None:
        async with asyncio.timeout(SOON):
            while not any(page.instrument == symbol and page.end == end for page in self.seen):
                self.seen.append(await anext(self._pages))

    def bars(self, symbol: str) -> pl.DataFrame:
        return pl.concat([decode_page(p) for p in self.seen if p.instrument == symbol]).select(list(CANDLES))


@pytest.fixture
def live(market: SimulatedMarket) -> Iterator[StandInExchange]:
    with running(StandInExchange(market, market_time=NOW)) as exchange:
        yield exchange


@contextlib.asynccontextmanager
async def following(
    live: StandInExchange, symbols: tuple[str, ...] = ("BTCUSDT",), **options: float
) -> AsyncIterator[Follower]:
    settings = BinanceSettings(rest_url=live.rest_url, stream_url=live.stream_url)
    clock, wall = ClockOf(live), SystemWallClock()
    source = BinanceSource(settings, clock, wall, retry=QUICK)
    stream = BarStream(source, settings, clock, wall, retry=QUICK, **options)
    pages = stream.closed_bars(dict.fromkeys(symbols, FIRST), Interval.M1)
    try:
        async with contextlib.aclosing(pages):  # type: ignore[type-var]
            yield Follower(pages)
    finally:
        await source.aclose()


def truth(market: SimulatedMarket, end: datetime, symbol: str = "BTCUSDT") -> pl.DataFrame:
    return market.candles(symbol).filter(pl.col("ts") >= FIRST, pl.col("ts") < end).select(list(CANDLES))


async def test_history_comes_first_and_live_bars_follow_without_a_hole(
    live: StandInExchange, market: SimulatedMarket
) -> None:
    async with following(live) as follower:
        await follower.until("BTCUSDT", NOW)
        assert [page.media for page in follower.seen] == [KLINES]
        for _ in range(3):
            await follower.until("BTCUSDT", live.advance(MINUTE))
    assert [page.media for page in follower.seen] == [KLINES] + [KLINE_EVENT] * 3
    assert follower.bars("BTCUSDT").equals(truth(market, NOW + 3 * MINUTE))


async def test_bars_in_progress_are_not_given(live: StandInExchange) -> None:
    async with following(live) as follower:
        await follower.until("BTCUSDT", NOW)
        live.advance(timedelta(seconds=50))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await anext(follower._pages)
    assert [page.end for page in follower.seen] == [NOW]


async def test_a_broken_connection_is_made_anew_and_loses_nothing(
    live: StandInExchange, market: SimulatedMarket
) -> None:
    live.faults.add(Fault(FaultKind.RESET, path="stream"))
    async with following(live) as follower:
        await follower.until("BTCUSDT", NOW)
        await follower.until("BTCUSDT", live.advance(MINUTE))
        await follower.until("BTCUSDT", live.advance(MINUTE))
    assert live.faults.due() == []
    assert follower.bars("BTCUSDT").equals(truth(market, NOW + 2 * MINUTE))


async def test_a_bar_that_the_stream_skips_is_fetched(live: StandInExchange, market: SimulatedMarket) -> None:
    live.faults.add(Fault(FaultKind.GAP, path="stream"))
    async with following(live) as follower:
        await follower.until("BTCUSDT", NOW)
        live.advance(MINUTE)
        await follower.until("BTCUSDT", live.advance(MINUTE))
    assert [page.media for page in follower.seen] == [KLINES, KLINES, KLINE_EVENT]
    assert follower.bars("BTCUSDT").equals(truth(market, NOW + 2 * MINUTE))


async def test_a_bar_that_is_sent_twice_is_given_once(live: StandInExchange, market: SimulatedMarket) -> None:
    live.faults.add(Fault(FaultKind.DUPLICATE, path="stream"))
    async with following(live) as follower:
        await follower.until("BTCUSDT", NOW)
        await follower.until("BTCUSDT", live.advance(MINUTE))
        await follower.until("BTCUSDT", live.advance(MINUTE))
    assert follower.bars("BTCUSDT").equals(truth(market, NOW + 2 * MINUTE))


async def test_several_instruments_share_a_connection(live: StandInExchange, market: SimulatedMarket) -> None:
    async with following(live, ("BTCUSDT", "ETHUSDT")) as follower:
        for symbol in ("BTCUSDT", "ETHUSDT"):
            await follower.until(symbol, NOW)
        end = live.advance(MINUTE)
        for symbol in ("BTCUSDT", "ETHUSDT"):
            await follower.until(symbol, end)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        assert follower.bars(symbol).equals(truth(market, end, symbol))


async def test_a_silent_connection_is_made_anew(live: StandInExchange) -> None:
    async with following(live, silence_seconds=0.2) as follower:
        await follower.until("BTCUSDT", NOW)
        asked = live.traffic.requests["time"]
        waiting = asyncio.ensure_future(anext(follower._pages))
        async with asyncio.timeout(SOON):
            while live.traffic.requests["time"] == asked:
                await asyncio.sleep(0.01)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting


async def test_a_stream_that_cannot_be_reached_is_said_to_be_so(live: StandInExchange) -> None:
    settings = BinanceSettings(rest_url=live.rest_url, stream_url="ws://127.0.0.1:1")
    source = BinanceSource(settings, ClockOf(live), SystemWallClock(), retry=QUICK)
    stream = BarStream(source, settings, ClockOf(live), SystemWallClock(), retry=QUICK)
    with pytest.raises(Unreachable, match=r"ws://127\.0\.0\.1:1"):
        await anext(aiter(stream.closed_bars({"BTCUSDT": FIRST}, Interval.M1)))
    await source.aclose()
