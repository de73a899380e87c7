"""Pages of history over a real socket: complete, in order, within the venue's limits."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import aiohttp
import polars as pl
import pytest

from autotrader.adapters.clocks import LiveMarketClock, StandingMarketClock, SystemWallClock
from autotrader.apps.exchange.faults import Fault, FaultKind
from autotrader.apps.exchange.market import CANDLES
from autotrader.apps.exchange.server import StandInExchange, running
from autotrader.apps.exchange.simulated import SimulatedMarket
from autotrader.apps.exchange.weights import WeightMeter
from autotrader.config.settings import BinanceSettings
from autotrader.connectors.binance_ws import client as client_module
from autotrader.connectors.binance_ws import source as source_module
from autotrader.connectors.binance_ws.decode import decode_page
from autotrader.connectors.binance_ws.source import BinanceSource, page_windows
from autotrader.domain.bars import Interval
from autotrader.domain.errors import NotFound, Throttled, Unreachable
from autotrader.ports.market_data import PAGE_BARS, RawPage

from .conftest import MARKET_END, QUICK

Connect = Callable[..., BinanceSource]
START = MARKET_END - timedelta(days=4)
PAGES = list(page_windows(START, MARKET_END, Interval.M1))


async def fetch(
    source: BinanceSource,
    symbol: str = "BTCUSDT",
    interval: Interval = Interval.M1,
    start: datetime = START,
    end: datetime = MARKET_END,
    kept: list[RawPage] | None = None,
) -> list[RawPage]:
    """All pages; what came before a failure stays in `kept`."""
    kept = [] if kept is None else kept
    async for page in source.pages(symbol, interval, start, end):
        kept.append(page)
    return kept


def bars(pages: list[RawPage]) -> pl.DataFrame:
    return pl.concat([decode_page(page) for page in pages]).select(list(CANDLES))


async def test_every_bar_comes_once_and_as_it_is(connect: Connect, market: SimulatedMarket) -> None:
    pages = await fetch(connect())
    assert len(pages) == len(PAGES)
    assert bars(pages).equals(market.candles("BTCUSDT").select(list(CANDLES)))


async def test_other_intervals_are_asked_for_too(connect: Connect, market: SimulatedMarket) -> None:
    hours = bars(await fetch(connect(), interval=Interval.H1))
    minutes = market.candles("BTCUSDT")
    assert hours.height == 4 * 24
    assert hours["volume"].sum() == pytest.approx(minutes["volume"].sum())
    assert hours["high"].max() == minutes["high"].max()


async def test_windows_join_and_hold_at_most_a_page_of_bars() -> None:
    start = START + timedelta(seconds=17)
    windows = list(page_windows(start, MARKET_END, Interval.M1))
    assert windows[0].start == start
    assert windows[-1].end == MARKET_END
    for left, right in itertools.pairwise(windows):
        assert left.end == right.start
        assert left.end - left.start <= PAGE_BARS * Interval.M1.delta


def test_a_later_start_asks_the_same_questions() -> None:
    later = list(page_windows(START + timedelta(hours=31), MARKET_END, Interval.M1))
    assert later[1:] == PAGES[-len(later) + 1 :]


async def test_a_start_between_two_opens_begins_with_the_next(connect: Connect) -> None:
    start = MARKET_END - timedelta(minutes=10, seconds=30)
    (page, *_) = await fetch(connect(), start=start)
    assert page.start == start
    assert decode_page(page)["ts"][0] == MARKET_END - timedelta(minutes=10)


async def test_a_time_before_the_venues_history_is_an_empty_page(connect: Connect) -> None:
    (page,) = await fetch(
        connect(), start=START - timedelta(days=2), end=START - timedelta(days=2) + timedelta(hours=1)
    )
    assert page.payload == b"[]"
    assert decode_page(page).is_empty()


async def test_a_bar_that_is_open_by_the_venues_clock_is_not_asked_for(market: SimulatedMarket) -> None:
    """Our clock may be ahead of the venue's: the bar in progress there must not pass as closed."""
    now = MARKET_END - timedelta(minutes=5, seconds=20)
    with running(StandInExchange(market, market_time=now)) as exchange:
        source = BinanceSource(
            BinanceSettings(rest_url=exchange.rest_url), LiveMarketClock(), SystemWallClock(), retry=QUICK
        )
        pages = await fetch(source)
        await source.aclose()
    assert pages[-1].end == MARKET_END - timedelta(minutes=6)
    assert bars(pages)["ts"].max() == MARKET_END - timedelta(minutes=7)


async def test_our_own_clock_bounds_what_may_be_seen(connect: Connect, exchange: StandInExchange) -> None:
    now = MARKET_END - timedelta(hours=3)
    source = BinanceSource(
        BinanceSettings(rest_url=exchange.rest_url), StandingMarketClock(now), SystemWallClock(), retry=QUICK
    )
    pages = await fetch(source)
    await source.aclose()
    assert pages[-1].end == now


async def test_requests_are_under_way_at_once_but_not_more_than_allowed(
    connect: Connect, exchange: StandInExchange
) -> None:
    exchange.faults.add(Fault(FaultKind.SLOW, count=None, seconds=0.05))
    source = connect(concurrency=3)
    both = await asyncio.gather(fetch(source), fetch(source, "ETHUSDT"))
    assert [len(pages) for pages in both] == [len(PAGES)] * 2
    assert exchange.traffic.most_under_way == 3


async def test_pages_come_in_order_though_answers_do_not(
    connect: Connect, exchange: StandInExchange, market: SimulatedMarket
) -> None:
    exchange.faults.add(Fault(FaultKind.SLOW, seconds=0.2, start=START, end=START + timedelta(hours=1)))
    pages = await fetch(connect())
    assert [p.start for p in pages] == sorted(p.start for p in pages)
    assert bars(pages).equals(market.candles("BTCUSDT").select(list(CANDLES)))


def throttling(exchange: StandInExchange) -> BinanceSource:
    """A source that knows the exchange's limit. Two requests at once: what is under way when a window
    ends is less than the tenth of the limit that is kept free."""
    settings = BinanceSettings(
        rest_url=exchange.rest_url, weight_per_minute=exchange.weights.limit, concurrency=2
    )
    return BinanceSource(
        settings,
        StandingMarketClock(MARKET_END),
        SystemWallClock(),
        retry=QUICK,
        weight_window_seconds=exchange.weights.window_seconds,
    )


async def test_the_weight_limit_is_kept_by_waiting(
    connect: Connect, exchange: StandInExchange, market: SimulatedMarket
) -> None:
    """56 requests of weight 2 against 60 a window: without a budget the venue would refuse many.

    A window is long enough for many more requests than the limit allows, also on a slow machine.
    """
    began = time.monotonic()
    await fetch(connect(concurrency=1))
    window_seconds = max(0.5, 100 * (time.monotonic() - began) / len(PAGES))
    weights = WeightMeter(limit=60, window_seconds=window_seconds)
    with running(StandInExchange(market, weights=weights)) as exchange:
        source = throttling(exchange)
        everything = await asyncio.gather(*(fetch(source, s) for s in ("BTCUSDT", "ETHUSDT") * 4))
        await source.aclose()
    assert [len(pages) for pages in everything] == [len(PAGES)] * 8
    assert weights.refused == 0
    assert 40 < weights.highest <= 60


async def test_weight_that_others_use_is_seen_in_the_answers(market: SimulatedMarket) -> None:
    weights = WeightMeter(limit=100, window_seconds=0.5)
    with running(StandInExchange(market, weights=weights)) as exchange:
        source = throttling(exchange)
        await asyncio.sleep(0.52 - time.time() % 0.5)  # to the beginning of a window
        weights.charge(82)
        began = time.time()
        assert len(await fetch(source)) == len(PAGES)
        await source.aclose()
    assert weights.refused == 0
    assert int(time.time() / 0.5) > int(began / 0.5)


async def test_a_broken_fetch_goes_on_at_the_end_of_the_last_page(
    connect: Connect, exchange: StandInExchange, market: SimulatedMarket
) -> None:
    broken_from = PAGES[3].start
    exchange.faults.add(Fault(FaultKind.SERVER_ERROR, count=None, start=broken_from, end=MARKET_END))
    source, kept = connect(), list[RawPage]()
    with pytest.raises(Unreachable, match="HTTP 500"):
        await fetch(source, kept=kept)
    assert kept[-1].end == broken_from
    exchange.faults.clear()
    kept += await fetch(source, start=kept[-1].end)
    assert bars(kept).equals(market.candles("BTCUSDT").select(list(CANDLES)))


async def test_an_unknown_symbol_is_not_found_and_not_asked_for_again(
    connect: Connect, exchange: StandInExchange
) -> None:
    with pytest.raises(NotFound, match=r"NOSUCH.*-1121"):
        await fetch(connect(concurrency=1), "NOSUCH")
    assert exchange.traffic.requests["klines"] <= 2


async def test_a_symbol_with_illegal_characters_is_not_found(connect: Connect) -> None:
    source = connect()
    with pytest.raises(NotFound, match="-1100"):
        await fetch(source, "btc/usdt")
    assert list(await source.available(["BTCUSDT", "btc/usdt"])) == ["btc/usdt"]


async def test_all_that_is_there_needs_one_request(connect: Connect, exchange: StandInExchange) -> None:
    assert await connect().available(["BTCUSDT", "ETHUSDT"]) == {}
    assert exchange.traffic.requests["exchangeInfo"] == 1


async def test_a_ban_stops_all_requests_at_once(connect: Connect, exchange: StandInExchange) -> None:
    exchange.faults.add(Fault(FaultKind.BANNED, seconds=120))
    source = connect(concurrency=2)
    with pytest.raises(Throttled) as raised:
        await fetch(source)
    asked = exchange.traffic.requests["klines"]
    assert raised.value.retry_after_seconds == 120
    with pytest.raises(Throttled) as raised:
        await fetch(source, "ETHUSDT")
    assert 110 < raised.value.retry_after_seconds <= 120
    assert exchange.traffic.requests["klines"] == asked <= 3


async def test_a_throttled_venue_gets_the_rest_that_it_asked_for(
    connect: Connect, exchange: StandInExchange, market: SimulatedMarket
) -> None:
    exchange.faults.add(Fault(FaultKind.THROTTLED, count=2, seconds=1))
    began = time.monotonic()
    pages = await fetch(connect())
    assert time.monotonic() - began >= 1
    assert bars(pages).equals(market.candles("BTCUSDT").select(list(CANDLES)))


async def test_a_venue_that_accepts_but_never_answers_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "CONNECTION_TEST_SECONDS", 0.3)
    monkeypatch.setattr(client_module, "TIMEOUTS", aiohttp.ClientTimeout(total=200))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        source = BinanceSource(BinanceSettings(rest_url=url), LiveMarketClock(), SystemWallClock())
        began = time.monotonic()
        report = await source.test_connection()
        await source.aclose()
    assert not report.ok
    assert time.monotonic() - began < 60


async def test_the_connection_test_tells_how_far_the_venues_clock_is_off(connect: Connect) -> None:
    report = await connect().test_connection()
    assert report.ok
    assert report.server_time == MARKET_END
    assert report.clock_skew_ms is not None
    assert abs(report.clock_skew_ms) < 30_000


async def test_a_consumer_that_leaves_early_leaves_no_requests_behind(
    connect: Connect, exchange: StandInExchange
) -> None:
    exchange.faults.add(
        Fault(FaultKind.SLOW, count=None, seconds=200, start=START + timedelta(days=1), end=MARKET_END)
    )
    began = time.monotonic()
    async with contextlib.aclosing(
        connect().pages("BTCUSDT", Interval.M1, START, MARKET_END)  # type: ignore[type-var]
    ) as pages:
        await anext(pages)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not [task for task in others if "_page" in repr(task)]
    assert time.monotonic() - began < 60
