"""History from a gateway that behaves, and from one that does not; by both client libraries."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import struct
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from autotrader.adapters.clocks import StandingMarketClock, SystemWallClock
from autotrader.config.settings import IbkrSettings
from autotrader.connectors.ibkr_connector import library
from autotrader.connectors.ibkr_connector.decode import decode_page
from autotrader.connectors.ibkr_connector.pacing import Pacing, Rule
from autotrader.connectors.ibkr_connector.source import CLIENT_IDS, IbkrSource, Patience
from autotrader.connectors.resilience import RetryPolicy
from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData, ConfigurationError, Rejected, Throttled, Unreachable
from autotrader.domain.instruments import Venue
from autotrader.ports.market_data import RawPage
from tests import real_data
from tests.fakes.market_data import made_bars
from tests.fakes.tws_gateway import Fault, TwsGateway, read_bars

# Friday, weekend, Monday. New York's session is 14:30 to 21:00 UTC.
FRIDAY, SATURDAY, MONDAY, TUESDAY = (datetime(2024, 2, day, tzinfo=UTC) for day in (23, 24, 26, 27))
SESSION_BARS = 390
CLOCK = StandingMarketClock(datetime(2024, 3, 1, tzinfo=UTC))
UNPACED = Rule(1000, 1.0)
PATIENCE = Patience(
    connect_seconds=60.0,
    request_seconds=60.0,
    pacing=Pacing(all=UNPACED, same_contract=UNPACED, identical=UNPACED),
    pacing_rest_seconds=0.01,
    connecting=RetryPolicy(attempts=2, first_wait_seconds=0.01),
    asking=RetryPolicy(attempts=3, first_wait_seconds=0.01),
)


@pytest.fixture
def gateway() -> Iterator[TwsGateway]:
    days = [made_bars(Venue.IBKR, "AAPL", day, day + timedelta(days=1)) for day in (FRIDAY, MONDAY)]
    with TwsGateway({"AAPL": pl.concat(days)}) as gateway:
        yield gateway


@contextlib.asynccontextmanager
async def connected(
    gateway: TwsGateway, *, name: str = "auto", patience: Patience = PATIENCE, use_rth: bool = True
) -> AsyncIterator[IbkrSource]:
    settings = IbkrSettings(port=gateway.port, library=name, use_rth=use_rth)
    source = IbkrSource(settings, CLOCK, SystemWallClock(), patience=patience)
    try:
        yield source
    finally:
        await source.aclose()


async def fetch(
    source: IbkrSource,
    start: datetime = FRIDAY,
    end: datetime = SATURDAY,
    *,
    symbol: str = "AAPL",
    interval: Interval = Interval.M1,
) -> list[RawPage]:
    return [page async for page in source.pages(symbol, interval, start, end)]


def opens(pages: list[RawPage]) -> pl.Series:
    return pl.concat([decode_page(page) for page in pages])["ts"]


async def test_a_request_is_in_utc_for_trades_of_at_most_a_day(gateway: TwsGateway) -> None:
    async with connected(gateway) as source:
        await fetch(source)
    assert gateway.requests == [
        {
            "symbol": "AAPL",
            "end": "20240224-00:00:00",
            "bar_size": "1 min",
            "duration": "86400 S",
            "use_rth": "1",
            "what_to_show": "TRADES",
            "format_date": "2",
        }
    ]


async def test_the_payload_is_the_message_as_it_was_on_the_wire(gateway: TwsGateway) -> None:
    async with connected(gateway) as source:
        (page,) = await fetch(source)
    fields = page.payload.split(b"\0")
    assert fields[0] == b"17"
    assert fields[4] == b"390"
    assert fields[-1] == b""
    assert len(fields) == 5 + 390 * 8 + 1
    assert page.media == "ibkr.historical_data.fields"


@pytest.mark.parametrize(("use_rth", "bars"), [(True, 390), (False, 960)])
async def test_regular_hours_are_a_setting(gateway: TwsGateway, use_rth: bool, bars: int) -> None:
    async with connected(gateway, use_rth=use_rth) as source:
        # Extended hours end at 01:00 UTC: of a UTC day they are its first hour and its last fifteen.
        assert len(opens(await fetch(source))) == bars


async def test_the_venue_counts_in_trading_time_yet_no_bar_comes_twice(gateway: TwsGateway) -> None:
    async with connected(gateway) as source:
        pages = await fetch(source, FRIDAY, TUESDAY)
    saturday = pages[1]
    assert saturday.payload.split(b"\0")[4] == b"390"  # it sent Friday's bars again
    assert decode_page(saturday).height == 0
    assert opens(pages).is_unique().all()
    assert len(opens(pages)) == 2 * SESSION_BARS


@pytest.mark.parametrize("interval", [Interval.M5, Interval.M15])
async def test_longer_bars_are_asked_for_in_the_venue_s_words(
    gateway: TwsGateway, interval: Interval
) -> None:
    async with connected(gateway) as source:
        pages = await fetch(source, interval=interval)
    assert len(opens(pages)) == 390 * 60 // interval.seconds


async def test_bars_that_do_not_lie_on_the_grid_are_refused(gateway: TwsGateway) -> None:
    async with connected(gateway) as source:
        with pytest.raises(ConfigurationError, match="1m, 5m, 15m"):
            await fetch(source, interval=Interval.H1)
    assert gateway.connections == 0


@pytest.mark.parametrize(
    "fault",
    [
        Fault.PACING,
        Fault.TOO_MANY_REQUESTS,
        Fault.DISCONNECT,
        Fault.CONNECTIVITY_LOST,
        Fault.SLOW,
        Fault.FARM_NOTICES,
    ],
)
@pytest.mark.parametrize("name", library.LIBRARIES)
async def test_what_passes_is_waited_out(gateway: TwsGateway, fault: Fault, name: str) -> None:
    gateway.misbehave(fault)
    async with connected(gateway, name=name) as source:
        assert len(opens(await fetch(source))) == SESSION_BARS
    repeats = fault not in (Fault.SLOW, Fault.FARM_NOTICES)
    assert len(gateway.requests) == 1 + repeats


@pytest.mark.parametrize("name", library.LIBRARIES)
async def test_an_answer_that_does_not_come_is_asked_for_again(gateway: TwsGateway, name: str) -> None:
    gateway.misbehave(Fault.SILENT)
    asking = RetryPolicy(attempts=100, first_wait_seconds=0.01, longest_wait_seconds=0.02)
    patience = dataclasses.replace(PATIENCE, request_seconds=0.5, asking=asking)
    async with connected(gateway, name=name, patience=patience) as source:
        assert len(opens(await fetch(source))) == SESSION_BARS
    assert len(gateway.requests) >= 2


@pytest.mark.parametrize(
    ("fault", "error"),
    [(Fault.PACING, Throttled), (Fault.DISCONNECT, Unreachable), (Fault.NO_PERMISSION, Rejected)],
)
async def test_what_does_not_pass_is_raised_and_earlier_pages_stay(
    gateway: TwsGateway, fault: Fault, error: type[Exception]
) -> None:
    async with connected(gateway) as source:
        pages = source.pages("AAPL", Interval.M1, FRIDAY, TUESDAY)
        got = [await anext(pages)]
        gateway.misbehave_always(fault)
        with pytest.raises(error):
            await anext(pages)
        gateway.misbehave_always(None)
        rest = await fetch(source, got[-1].end, TUESDAY)
    assert len(opens([*got, *rest])) == 2 * SESSION_BARS


@pytest.mark.parametrize("fault", [Fault.DISCONNECT, Fault.CONNECTIVITY_LOST])
async def test_a_lost_connection_is_noticed_long_before_the_time_out(
    gateway: TwsGateway, fault: Fault
) -> None:
    gateway.misbehave(fault)
    began = time.monotonic()
    async with connected(gateway, patience=dataclasses.replace(PATIENCE, request_seconds=200.0)) as source:
        await fetch(source)
    assert time.monotonic() - began < 60


async def test_requests_are_paced(gateway: TwsGateway) -> None:
    once = dataclasses.replace(PATIENCE.pacing, identical=Rule(1, 0.3))
    began = time.monotonic()
    async with connected(gateway, patience=dataclasses.replace(PATIENCE, pacing=once)) as source:
        await fetch(source)
        await fetch(source)
    assert time.monotonic() - began >= 0.3


async def test_a_refusal_for_good_is_asked_once(gateway: TwsGateway) -> None:
    gateway.misbehave(Fault.NO_PERMISSION)
    async with connected(gateway) as source:
        with pytest.raises(Rejected, match="162"):
            await fetch(source)
    assert len(gateway.requests) == 1


async def test_no_data_is_an_empty_page(gateway: TwsGateway) -> None:
    gateway.misbehave(Fault.NO_DATA)
    async with connected(gateway) as source:
        (page,) = await fetch(source)
    assert b"HMDS query returned no data" in page.payload
    assert decode_page(page).height == 0


@pytest.mark.parametrize(("fault", "extra"), [(Fault.DUPLICATE, 1), (Fault.OUT_OF_ORDER, 0), (Fault.NAN, 0)])
async def test_dirt_is_passed_on_as_it_came(gateway: TwsGateway, fault: Fault, extra: int) -> None:
    gateway.misbehave(fault)
    async with connected(gateway) as source:
        frame = decode_page((await fetch(source))[0])
    assert frame.height == SESSION_BARS + extra
    assert frame["ts"].is_sorted() == (fault is not Fault.OUT_OF_ORDER)
    assert frame["open"].is_nan().any() == (fault is Fault.NAN)


async def test_a_message_of_too_few_fields_is_bad_data(gateway: TwsGateway) -> None:
    gateway.misbehave(Fault.GARBAGE)
    async with connected(gateway) as source:
        (page,) = await fetch(source)
    with pytest.raises(BadData):
        decode_page(page)


async def test_a_bar_in_progress_is_not_returned(gateway: TwsGateway) -> None:
    gateway.misbehave(Fault.UNCLOSED)
    noon = FRIDAY + timedelta(hours=17)
    async with connected(gateway) as source:
        assert opens(await fetch(source, FRIDAY, noon)).max() == noon - timedelta(minutes=1)


@pytest.mark.parametrize("name", library.LIBRARIES)
async def test_a_taken_client_id_gives_way_to_the_next(gateway: TwsGateway, name: str) -> None:
    gateway.taken_client_ids = {18, 19}
    async with connected(gateway, name=name) as source:
        assert len(opens(await fetch(source))) == SESSION_BARS
        assert gateway.connected_client_ids == [20]


async def test_no_free_client_id_is_said_at_once(gateway: TwsGateway) -> None:
    gateway.taken_client_ids = set(range(18, 18 + CLIENT_IDS))
    async with connected(gateway) as source:
        with pytest.raises(Unreachable, match="client id"):
            await fetch(source)


async def test_sources_of_many_tasks_share_a_gateway(gateway: TwsGateway) -> None:
    async def work() -> int:
        async with connected(gateway) as source:
            return len(opens(await fetch(source)))

    assert await asyncio.gather(*(work() for _ in range(4))) == [SESSION_BARS] * 4


async def test_one_source_fetches_several_windows_at_once_by_one_connection(gateway: TwsGateway) -> None:
    async with connected(gateway) as source:
        both = await asyncio.gather(fetch(source), fetch(source, MONDAY, TUESDAY))
    assert [len(opens(pages)) for pages in both] == [SESSION_BARS, SESSION_BARS]
    assert gateway.connections == 1


async def test_closing_frees_the_client_id(gateway: TwsGateway) -> None:
    async with connected(gateway) as source:
        await source.test_connection()
    async with connected(gateway) as source:
        assert (await source.test_connection()).ok
        assert gateway.connected_client_ids == [18]


async def test_the_gateway_s_clock_is_compared_with_ours(gateway: TwsGateway) -> None:
    async with connected(gateway) as source:
        report = await source.test_connection()
    assert report.clock_skew_ms is not None
    assert 0 <= report.clock_skew_ms < 30_000


@pytest.mark.parametrize(
    "first_words", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", struct.pack(">I", 9) + b"not\0one\0\0"]
)
@pytest.mark.parametrize("stays", [True, False])
@pytest.mark.parametrize("name", library.LIBRARIES)
async def test_what_listens_but_is_no_gateway_is_unreachable(
    first_words: bytes, stays: bool, name: str
) -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first_words)
        await writer.drain()
        if stays:
            await asyncio.sleep(0.3)
        writer.close()

    unheard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        settings = IbkrSettings(port=server.sockets[0].getsockname()[1], library=name)
        quick = Patience(connect_seconds=0.1, connecting=RetryPolicy(attempts=1))
        source = IbkrSource(settings, CLOCK, SystemWallClock(), patience=quick)
        report = await source.test_connection()
        assert not report.ok
        await source.aclose()
    gc.collect()
    assert unheard == []


@pytest.mark.parametrize("name", library.LIBRARIES)
async def test_the_library_s_own_client_accepts_the_stand_in(gateway: TwsGateway, name: str) -> None:
    """So that the stand-in is not merely what our connector expects of it."""
    ib = library.load(name).IB()
    await ib.connectAsync("127.0.0.1", gateway.port, clientId=5, timeout=60)
    stock = library.load(name).Stock("AAPL", "SMART", "USD")
    (details,) = await ib.reqContractDetailsAsync(stock)
    bars = await ib.reqHistoricalDataAsync(stock, SATURDAY, "86400 S", "1 min", "TRADES", True, 2)
    ib.disconnect()
    assert details.contract.conId == 265598
    assert len(bars) == SESSION_BARS
    assert bars[0].date == FRIDAY + timedelta(hours=14, minutes=30)


@pytest.mark.parametrize("name", library.LIBRARIES)
async def test_recorded_equity_days_arrive_bar_for_bar(name: str) -> None:
    bars = read_bars(real_data.folder() / "equity")
    start, end = datetime(2013, 10, 4, tzinfo=UTC), datetime(2013, 10, 12, tzinfo=UTC)
    local = pl.col("ts").dt.convert_time_zone("America/New_York").dt.time()
    session = local.is_between(pl.time(9, 30), pl.time(16), closed="left")
    expected = bars["SPY"].filter(pl.col("ts") >= start, pl.col("ts") < end, session).sort("ts")
    with TwsGateway(bars) as gateway:
        async with connected(gateway, name=name) as source:
            got = pl.concat([decode_page(page) for page in await fetch(source, start, end, symbol="SPY")])
    columns = ["ts", "open", "high", "low", "close", "volume"]
    assert got.select(columns).rows() == expected.select(columns).rows()
    assert got.height > 2000
