"""What every source of market data does, whatever venue is behind it.

Each runs against its venue's stand-in on loopback; the in-memory fake passes the same suite, so that
a test which uses it does not test a fiction.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pydantic import SecretStr

from autotrader.adapters.clocks import StandingMarketClock, SystemWallClock
from autotrader.apps.exchange.market import CANDLES
from autotrader.apps.exchange.server import StandInExchange, running
from autotrader.config.settings import BinanceSettings, IbkrSettings, OandaSettings
from autotrader.connectors.binance_ws import decode as binance_decode
from autotrader.connectors.binance_ws.source import BinanceSource
from autotrader.connectors.ibkr_connector import decode as ibkr_decode
from autotrader.connectors.ibkr_connector.pacing import Pacing, Rule
from autotrader.connectors.ibkr_connector.source import IbkrSource, Patience
from autotrader.connectors.oanda import decode as oanda_decode
from autotrader.connectors.oanda.source import OandaSource
from autotrader.connectors.resilience import RetryPolicy
from autotrader.data.schemas import DECODED_BARS
from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData, ConfigurationError, NotFound, Unreachable
from autotrader.domain.instruments import Venue
from autotrader.ports.market_data import MarketDataSource, PageDecoder, RawPage, longest_page
from tests.fakes import market_data as memory
from tests.fakes.market_data import InMemorySource, made_bars
from tests.fakes.oanda_server import OandaServer
from tests.fakes.tws_gateway import TwsGateway

# A Wednesday in New York's session. The stand-ins hold later bars too, which nobody may see yet.
NOW = datetime(2024, 2, 28, 18, 30, 30, tzinfo=UTC)
LAST_CLOSE = datetime(2024, 2, 28, 18, 30, tzinfo=UTC)
START = datetime(2024, 2, 27, 21, 17, tzinfo=UTC)
END = datetime(2024, 2, 28, 15, tzinfo=UTC)
HELD = datetime(2024, 2, 26, tzinfo=UTC), datetime(2024, 2, 29, tzinfo=UTC)
CLOCK = StandingMarketClock(NOW)
WALL = SystemWallClock()
QUICK = RetryPolicy(attempts=3, first_wait_seconds=0.01, longest_wait_seconds=0.02)
CLOSED_PORT = 1
SOON = 60.0  # seconds, for what a stand-in does in milliseconds; a busy machine may take longer


@dataclass(frozen=True)
class Stand:
    """A venue's stand-in and how to reach it.

    Attributes
    ----------
    bars : pl.DataFrame
        What the stand-in holds of `instrument`, in `DECODED_BARS` columns.
    compared : tuple[str, ...]
        Columns that the venue's protocol carries.
    source, unreachable : callable
        A new connection to it; one to where nothing listens.
    """

    venue: Venue
    instrument: str
    bars: pl.DataFrame
    compared: tuple[str, ...]
    source: Callable[[], MarketDataSource]
    unreachable: Callable[[], MarketDataSource]
    decode: PageDecoder

    def held(self, start: datetime, end: datetime) -> pl.DataFrame:
        return self.bars.filter(pl.col("ts") >= start, pl.col("ts") < end)


OHLCV = ("venue", "instrument", "interval", "ts", "open", "high", "low", "close", "volume")
BINANCE_COLUMNS = (*OHLCV, "quote_volume", "trade_count", "taker_buy_base", "taker_buy_quote", "spread")


@dataclass(frozen=True)
class OneSymbolMarket:
    """The made bars, as the stand-in exchange takes them."""

    bars: pl.DataFrame
    source = "recorded"
    symbols = ("BTCUSDT",)
    start, end = HELD

    def candles(self, symbol: str) -> pl.DataFrame:
        return self.bars.select(list(CANDLES))

    def steps(self, symbol: str) -> tuple[float, float]:
        return 0.01, 1.0


@contextlib.contextmanager
def memory_stand() -> Iterator[Stand]:
    bars = made_bars(Venue.BINANCE, "BTCUSDT", *HELD)

    def source(reachable: bool = True) -> InMemorySource:
        return InMemorySource(Venue.BINANCE, {"BTCUSDT": bars}, CLOCK, reachable=reachable)

    yield Stand(
        Venue.BINANCE,
        "BTCUSDT",
        bars,
        tuple(DECODED_BARS),
        source,
        lambda: source(reachable=False),
        memory.decode_page,
    )


@contextlib.contextmanager
def binance_stand() -> Iterator[Stand]:
    bars = made_bars(Venue.BINANCE, "BTCUSDT", *HELD)
    with running(StandInExchange(OneSymbolMarket(bars), market_time=NOW)) as exchange:

        def source(url: str = exchange.rest_url) -> BinanceSource:
            return BinanceSource(BinanceSettings(rest_url=url), CLOCK, WALL, retry=QUICK)

        yield Stand(
            Venue.BINANCE,
            "BTCUSDT",
            bars,
            BINANCE_COLUMNS,
            source,
            lambda: source(f"http://127.0.0.1:{CLOSED_PORT}"),
            binance_decode.decode_page,
        )


@contextlib.contextmanager
def ibkr_stand(library: str) -> Iterator[Stand]:
    local = pl.col("ts").dt.convert_time_zone("America/New_York").dt.hour()
    bars = made_bars(Venue.IBKR, "AAPL", *HELD).filter(local >= 4, local < 20)
    unpaced = Rule(1000, 1.0)
    patience = Patience(
        connect_seconds=SOON,
        pacing=Pacing(all=unpaced, same_contract=unpaced, identical=unpaced),
        connecting=QUICK,
        asking=QUICK,
    )
    with TwsGateway({"AAPL": bars}) as gateway:

        def source(port: int = gateway.port) -> IbkrSource:
            settings = IbkrSettings(port=port, use_rth=False, library=library)
            return IbkrSource(settings, CLOCK, WALL, patience=patience)

        yield Stand(
            Venue.IBKR,
            "AAPL",
            bars,
            OHLCV,
            source,
            lambda: source(CLOSED_PORT),
            ibkr_decode.decode_page,
        )


@contextlib.contextmanager
def oanda_stand() -> Iterator[Stand]:
    bars = made_bars(Venue.OANDA, "EUR_USD", *HELD).with_columns(spread=pl.lit(0.0001))
    with OandaServer({"EUR_USD": bars}, now=NOW) as server:

        def source(url: str = server.url) -> OandaSource:
            settings = OandaSettings(rest_url=url, token=SecretStr(server.token))
            return OandaSource(settings, CLOCK, WALL, retry=QUICK)

        yield Stand(
            Venue.OANDA,
            "EUR_USD",
            bars,
            (*OHLCV, "spread"),
            source,
            lambda: source(f"http://127.0.0.1:{CLOSED_PORT}"),
            oanda_decode.decode_page,
        )


STANDS: dict[str, Callable[[], contextlib.AbstractContextManager[Stand]]] = {
    "memory": memory_stand,
    "binance": binance_stand,
    "ibkr by ib_async": lambda: ibkr_stand("ib_async"),
    "ibkr by ib_insync": lambda: ibkr_stand("ib_insync"),
    "oanda": oanda_stand,
}


@pytest.fixture(scope="module", params=list(STANDS))
def stand(request: pytest.FixtureRequest) -> Iterator[Stand]:
    with STANDS[request.param]() as stand:
        yield stand


@pytest.fixture
async def source(stand: Stand) -> object:
    source = stand.source()
    yield source
    await source.aclose()


async def fetch(
    source: MarketDataSource, instrument: str, start: datetime = START, end: datetime = END
) -> list[RawPage]:
    return [page async for page in source.pages(instrument, Interval.M1, start, end)]


def opened(source: MarketDataSource, instrument: str) -> AsyncGenerator[RawPage]:
    """A fetch that the caller may stop: every source's pages come from a generator."""
    return cast("AsyncGenerator[RawPage]", source.pages(instrument, Interval.M1, START, END))


def decoded(stand: Stand, pages: list[RawPage]) -> pl.DataFrame:
    return pl.concat([stand.decode(page) for page in pages])


def test_it_keeps_the_port(stand: Stand) -> None:
    source = stand.source()
    assert isinstance(source, MarketDataSource)
    assert source.venue is stand.venue


async def test_pages_join_without_holes_oldest_first(stand: Stand, source: MarketDataSource) -> None:
    pages = await fetch(source, stand.instrument)
    assert len(pages) > 1
    assert [page.start for page in pages] == [START, *(page.end for page in pages[:-1])]
    assert all(page.end - page.start <= longest_page(page.interval) for page in pages)
    assert pages[-1].end == END


async def test_every_bar_of_the_window_arrives_once_and_as_it_is(
    stand: Stand, source: MarketDataSource
) -> None:
    bars = decoded(stand, await fetch(source, stand.instrument))
    assert_frame_equal(bars.select(stand.compared), stand.held(START, END).select(stand.compared))


async def test_bars_of_a_page_lie_in_its_window(stand: Stand, source: MarketDataSource) -> None:
    for page in await fetch(source, stand.instrument):
        assert stand.decode(page)["ts"].is_between(page.start, page.end, closed="left").all()


async def test_a_page_says_where_and_when_it_came_from(stand: Stand, source: MarketDataSource) -> None:
    before = datetime.now(UTC)
    for page in await fetch(source, stand.instrument):
        assert (page.venue, page.instrument, page.interval) == (stand.venue, stand.instrument, Interval.M1)
        assert before <= page.fetched_at <= datetime.now(UTC)
        assert page.market_time == NOW
        assert page.source
        assert page.media
        assert page.payload


async def test_a_stopped_fetch_goes_on_where_it_stopped(stand: Stand) -> None:
    first, second = stand.source(), stand.source()
    async with contextlib.aclosing(opened(first, stand.instrument)) as pages:
        seen = await anext(pages)
    await first.aclose()
    rest = await fetch(second, stand.instrument, seen.end)
    await second.aclose()
    bars = decoded(stand, [seen, *rest])
    assert_frame_equal(bars.select(stand.compared), stand.held(START, END).select(stand.compared))


async def test_a_stopped_fetch_leaves_nothing_running(stand: Stand) -> None:
    source = stand.source()
    async with contextlib.aclosing(opened(source, stand.instrument)) as pages:
        await anext(pages)
    await source.aclose()
    async with asyncio.timeout(SOON):
        while asyncio.all_tasks() != {asyncio.current_task()}:
            await asyncio.sleep(0.01)


async def test_bars_that_have_not_closed_are_not_there(stand: Stand, source: MarketDataSource) -> None:
    pages = await fetch(source, stand.instrument, LAST_CLOSE - timedelta(hours=2), NOW + timedelta(days=1))
    bars = decoded(stand, pages)
    assert pages[-1].end == LAST_CLOSE
    assert bars["ts"].max() == LAST_CLOSE - timedelta(minutes=1)


async def test_an_unclosed_bar_in_a_page_is_left_out(stand: Stand, source: MarketDataSource) -> None:
    (page,) = await fetch(source, stand.instrument, LAST_CLOSE - timedelta(minutes=10), LAST_CLOSE)
    early = dataclasses.replace(page, market_time=LAST_CLOSE - timedelta(seconds=1))
    assert stand.decode(page).height == 10
    assert stand.decode(early).height == 9


@pytest.mark.parametrize("window", [(START, START), (NOW, NOW + timedelta(days=1))], ids=["empty", "future"])
async def test_a_window_without_closed_bars_has_no_pages(
    stand: Stand, source: MarketDataSource, window: tuple[datetime, datetime]
) -> None:
    assert await fetch(source, stand.instrument, *window) == []


async def test_a_reversed_window_is_a_mistake_of_the_caller(stand: Stand, source: MarketDataSource) -> None:
    with pytest.raises(ConfigurationError, match="start before end"):
        await fetch(source, stand.instrument, END, START)


async def test_an_unknown_instrument_is_not_found(stand: Stand, source: MarketDataSource) -> None:
    with pytest.raises(NotFound, match="NOSUCH"):
        await fetch(source, "NOSUCH")


async def test_what_the_venue_does_not_have_is_named_with_a_reason(
    stand: Stand, source: MarketDataSource
) -> None:
    missing = await source.available([stand.instrument, "NOSUCH"])
    assert list(missing) == ["NOSUCH"]
    assert missing["NOSUCH"]


async def test_an_absent_venue_is_unreachable_within_seconds(stand: Stand) -> None:
    source = stand.unreachable()
    began = time.monotonic()
    with pytest.raises(Unreachable):
        await fetch(source, stand.instrument)
    with pytest.raises(Unreachable):
        await source.available([stand.instrument])
    assert time.monotonic() - began < SOON / 2
    await source.aclose()


async def test_the_connection_test_measures_a_venue_that_is_there(
    stand: Stand, source: MarketDataSource
) -> None:
    began = time.monotonic()
    report = await source.test_connection()
    took_ms = (time.monotonic() - began) * 1000
    assert report.ok, report.reason
    assert report.venue is stand.venue
    assert report.latency_ms is not None
    assert 0 <= report.latency_ms <= took_ms


async def test_the_connection_test_reports_an_absent_venue_and_does_not_raise(stand: Stand) -> None:
    source = stand.unreachable()
    report = await source.test_connection()
    assert not report.ok
    assert report.reason
    await source.aclose()


async def test_closing_twice_or_unused_does_no_harm(stand: Stand) -> None:
    unused, used = stand.source(), stand.source()
    await used.test_connection()
    for source in (unused, unused, used, used):
        await source.aclose()


async def test_a_closed_source_can_be_used_again(stand: Stand, source: MarketDataSource) -> None:
    assert (await source.test_connection()).ok
    await source.aclose()
    assert (await source.test_connection()).ok


async def test_decoding_is_pure(stand: Stand, source: MarketDataSource) -> None:
    page = (await fetch(source, stand.instrument))[0]
    copy = dataclasses.replace(page, payload=bytes(page.payload))
    first, second = stand.decode(page), stand.decode(page)
    assert_frame_equal(first, second)
    assert page == copy
    assert dict(first.schema) == DECODED_BARS


@pytest.mark.parametrize("payload", [b"", b"<html>502 Bad Gateway</html>", b"\xff\xfe", b"null", b'{"a": 1}'])
async def test_a_payload_that_is_no_page_is_bad_data(
    stand: Stand, source: MarketDataSource, payload: bytes
) -> None:
    page = (await fetch(source, stand.instrument))[0]
    with pytest.raises(BadData):
        stand.decode(dataclasses.replace(page, payload=payload))


async def test_a_cut_payload_is_bad_data(stand: Stand, source: MarketDataSource) -> None:
    page = (await fetch(source, stand.instrument))[0]
    with pytest.raises(BadData):
        stand.decode(dataclasses.replace(page, payload=page.payload[: len(page.payload) // 2]))


async def test_a_page_of_another_media_is_bad_data(stand: Stand, source: MarketDataSource) -> None:
    page = (await fetch(source, stand.instrument))[0]
    with pytest.raises(BadData, match="csv"):
        stand.decode(dataclasses.replace(page, media="text/csv"))


@pytest.mark.integration
def test_decoders_need_no_client_library() -> None:
    """The lake is rebuilt from the archive where no venue's library is installed."""
    modules = [m.__name__ for m in (binance_decode, ibkr_decode, oanda_decode)]
    program = (
        f"import {', '.join(modules)}, sys; "
        "print(*{'binance', 'ib_async', 'ib_insync', 'httpx', 'aiohttp'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""
