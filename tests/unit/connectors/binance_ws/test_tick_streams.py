"""Live trades and books over a real socket: nothing lost without a word, and books that are right."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from autotrader.adapters.clocks import StandingMarketClock, SystemWallClock
from autotrader.apps.exchange.faults import Fault, FaultKind
from autotrader.apps.exchange.server import StandInExchange, running
from autotrader.apps.exchange.simulated import SimulatedMarket
from autotrader.config.settings import BinanceSettings
from autotrader.connectors.binance_ws.depth_stream import DepthStream
from autotrader.connectors.binance_ws.source import BinanceSource
from autotrader.connectors.binance_ws.ticks import Book, Missed, Trade
from autotrader.connectors.binance_ws.trade_stream import TradeStream
from autotrader.domain.errors import Unreachable
from autotrader.features import microstructure as ms

from .conftest import MARKET_END, QUICK

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
NOW = MARKET_END - timedelta(hours=1)


@pytest.fixture
def live(market: SimulatedMarket) -> Iterator[StandInExchange]:
    with running(StandInExchange(market, market_time=NOW)) as exchange:
        yield exchange


class Follower:
    """Takes from a stream while the exchange's clock is moved on."""

    def __init__(self, messages: AsyncIterator[Any], live: StandInExchange) -> None:
        self._messages = messages
        self._live = live
        self.seen: list[Any] = []

    async def until(self, wanted: Callable[[Any], bool], step: timedelta = SECOND) -> Any:
        """Move on a step at a time, once somebody listens, until such a message comes."""
        pending = asyncio.ensure_future(anext(self._messages))
        async with asyncio.timeout(60):
            while True:
                done, _ = await asyncio.wait([pending], timeout=0.05)
                if not done:
                    if self._live.stream_connections:
                        self._live.advance(step)
                    continue
                self.seen.append(pending.result())
                if wanted(self.seen[-1]):
                    return self.seen[-1]
                pending = asyncio.ensure_future(anext(self._messages))

    async def take(self, count: int, step: timedelta = SECOND) -> list[Any]:
        """Some more messages."""
        have = len(self.seen)
        await self.until(lambda _: len(self.seen) >= have + count, step)
        return self.seen[have:]


@contextlib.asynccontextmanager
async def trades(live: StandInExchange, *symbols: str) -> AsyncGenerator[Follower]:
    stream = TradeStream(BinanceSettings(stream_url=live.stream_url), retry=QUICK)
    found = stream.trades(symbols or ("BTCUSDT",))
    async with contextlib.aclosing(found):
        yield Follower(found, live)


@contextlib.asynccontextmanager
async def books(live: StandInExchange, *symbols: str, levels: int = 10) -> AsyncGenerator[Follower]:
    settings = BinanceSettings(rest_url=live.rest_url, stream_url=live.stream_url)
    source = BinanceSource(settings, StandingMarketClock(NOW), SystemWallClock(), retry=QUICK)
    found = DepthStream(source, settings, retry=QUICK).books(symbols or ("BTCUSDT",), levels=levels)
    try:
        async with contextlib.aclosing(found):
            yield Follower(found, live)
    finally:
        await source.aclose()


def ids(seen: list[Trade | Missed]) -> list[int]:
    """Ids that were given, and those that were said to be missing, in order."""
    return [
        number
        for one in seen
        for number in ([one.trade_id] if isinstance(one, Trade) else range(one.first_id, one.last_id + 1))
    ]


def is_at(moment: datetime) -> Callable[[Any], bool]:
    return lambda one: isinstance(one, Trade) and one.traded_at >= moment


async def test_the_trades_of_a_minute_make_up_its_bar(live: StandInExchange, market: SimulatedMarket) -> None:
    async with trades(live) as follower:
        await follower.until(is_at(NOW + MINUTE), MINUTE)
    bar = market.candles("BTCUSDT").filter(pl.col("ts") == NOW).row(0, named=True)
    of_minute = [t for t in follower.seen if t.traded_at < NOW + MINUTE]
    assert ids(follower.seen) == list(
        range(of_minute[0].trade_id, of_minute[0].trade_id + len(follower.seen))
    )
    assert len(of_minute) == bar["trade_count"]
    assert of_minute[0].price == bar["open"]
    assert of_minute[-1].price == bar["close"]
    assert sum(t.quantity for t in of_minute) == pytest.approx(bar["volume"], abs=1e-8)
    taken = sum(t.quantity for t in of_minute if t.buyer_took)
    assert taken == pytest.approx(bar["taker_buy_base"], abs=1e-8)


@pytest.mark.parametrize("kind", [FaultKind.GAP, FaultKind.TRUNCATED])
async def test_a_trade_that_does_not_come_is_said_to_be_missing(
    live: StandInExchange, kind: FaultKind
) -> None:
    async with trades(live) as follower:
        (first,) = await follower.take(1)
        live.faults.add(Fault(kind, path="trade_stream"))
        missed = await follower.until(lambda one: isinstance(one, Missed))
        await follower.take(3)
    assert missed.first_id == missed.last_id
    assert ids(follower.seen) == list(range(first.trade_id, first.trade_id + len(follower.seen)))


async def test_a_trade_that_is_sent_twice_is_given_once(live: StandInExchange) -> None:
    async with trades(live) as follower:
        live.faults.add(Fault(FaultKind.DUPLICATE, count=3, path="trade_stream"))
        seen = await follower.take(8)
    assert live.faults.due() == []
    assert ids(seen) == list(range(seen[0].trade_id, seen[0].trade_id + 8))


async def test_after_a_broken_connection_missing_trades_are_named(
    live: StandInExchange,
) -> None:
    async with trades(live) as follower:
        (first,) = await follower.take(1)
        live.faults.add(Fault(FaultKind.RESET, path="trade_stream"))
        missed = await follower.until(lambda one: isinstance(one, Missed))
        await follower.take(2)
    assert missed.last_id >= missed.first_id
    found = ids(follower.seen)
    assert found == list(range(first.trade_id, found[-1] + 1))


async def test_trades_of_several_instruments_are_numbered_apart(live: StandInExchange) -> None:
    async with trades(live, "BTCUSDT", "ETHUSDT") as follower:
        await follower.until(lambda _: {t.instrument for t in follower.seen} == {"BTCUSDT", "ETHUSDT"})
        await follower.take(10)
    assert not [one for one in follower.seen if isinstance(one, Missed)]


async def test_a_venue_out_of_reach_is_said_to_be_so() -> None:
    stream = TradeStream(BinanceSettings(stream_url="ws://127.0.0.1:1"), retry=QUICK)
    with pytest.raises(Unreachable, match=r"ws://127\.0\.0\.1:1"):
        await anext(stream.trades(["BTCUSDT"]))


def truth(live: StandInExchange, book: Book, levels: int = 10) -> tuple[Any, Any]:
    snapshot = live.depth.snapshot("BTCUSDT", book.updated_at, levels)
    sides = (snapshot["bids"], snapshot["asks"])
    bids, asks = (tuple((float(p), float(q)) for p, q in side) for side in sides)
    assert snapshot["lastUpdateId"] == book.update_id
    return bids, asks


def all_true(live: StandInExchange, seen: list[Book | Missed]) -> bool:
    given = [one for one in seen if isinstance(one, Book)]
    return bool(given) and all((b.bids, b.asks) == truth(live, b) for b in given)


async def test_books_kept_up_by_differences_equal_the_venues_own(live: StandInExchange) -> None:
    async with books(live) as follower:
        seen = await follower.take(12)
    assert [b.updated_at for b in seen] == sorted({b.updated_at for b in seen})
    assert all_true(live, seen)
    assert live.traffic.requests["depth"] == 1


@pytest.mark.parametrize("kind", [FaultKind.GAP, FaultKind.TRUNCATED])
async def test_a_book_that_misses_an_update_begins_again_and_says_so(
    live: StandInExchange, kind: FaultKind
) -> None:
    async with books(live) as follower:
        await follower.take(1)
        live.faults.add(Fault(kind, path="depth_stream"))
        missed = await follower.until(lambda one: isinstance(one, Missed))
        before = follower.seen[-2]
        await follower.take(3)
    assert missed.first_id == before.update_id + 1
    assert all_true(live, follower.seen)
    assert live.traffic.requests["depth"] == 2


async def test_a_book_after_a_broken_connection_is_right(live: StandInExchange) -> None:
    async with books(live) as follower:
        await follower.take(2)
        live.faults.add(Fault(FaultKind.RESET, path="depth_stream"))
        await follower.until(lambda one: isinstance(one, Missed))
        await follower.take(3)
    assert all_true(live, follower.seen)


async def test_an_update_that_is_sent_twice_is_taken_once(live: StandInExchange) -> None:
    async with books(live) as follower:
        live.faults.add(Fault(FaultKind.DUPLICATE, count=2, path="depth_stream"))
        seen = await follower.take(5)
    assert len({b.update_id for b in seen}) == 5
    assert all_true(live, seen)


async def test_a_snapshot_that_fails_is_asked_for_again(live: StandInExchange) -> None:
    live.faults.add(Fault(FaultKind.SERVER_ERROR, path="depth"))
    async with books(live) as follower:
        seen = await follower.take(2)
    assert all_true(live, seen)
    assert live.traffic.statuses[500] == 1


async def test_features_of_the_book_and_of_trades_come_from_the_streams(live: StandInExchange) -> None:
    async with books(live, levels=5) as follower:
        seen = await follower.take(5)
    bids, asks = (np.array([getattr(b, side) for b in seen]) for side in ("bids", "asks"))
    best = bids[:, 0, 0], asks[:, 0, 0]
    inside = ms.microprice(*best, bids[:, 0, 1], asks[:, 0, 1])
    assert (ms.relative_spread(*best) > 0).all()
    assert ((best[0] < inside) & (inside < best[1])).all()
    assert (np.abs(ms.depth_imbalance(bids[:, :, 1], asks[:, :, 1])) < 1).all()

    async with trades(live) as follower:
        taken = await follower.take(200, MINUTE)
    price, quantity = (np.array([getattr(t, name) for t in taken]) for name in ("price", "quantity"))
    bought = np.array([t.buyer_took for t in taken])
    vpin = ms.volume_synchronised_imbalance(quantity, bought, bucket=float(quantity.sum()) / 40, buckets=20)
    assert 0 <= vpin[-1] <= 1
    assert np.isfinite(ms.kyle_lambda(price, quantity, bought))
    assert (ms.amihud_illiquidity(price, quantity, span=50) >= 0).all()
