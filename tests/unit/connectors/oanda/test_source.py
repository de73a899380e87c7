"""History from an API that behaves, and from one that does not."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import polars as pl
import pytest
from pydantic import SecretStr

from autotrader.adapters.clocks import StandingMarketClock, SystemWallClock
from autotrader.config.settings import OandaSettings
from autotrader.connectors.oanda import client
from autotrader.connectors.oanda.decode import decode_page
from autotrader.connectors.oanda.source import OandaSource
from autotrader.connectors.resilience import RetryPolicy
from autotrader.domain.bars import Interval
from autotrader.domain.errors import ConfigurationError, NotFound, Rejected, Throttled, Unreachable
from autotrader.domain.instruments import Venue
from autotrader.ports.market_data import RawPage
from tests import real_data
from tests.fakes.market_data import made_bars
from tests.fakes.oanda_server import Fault, OandaServer, read_bars

FRIDAY, SATURDAY, MONDAY = (datetime(2024, 2, day, tzinfo=UTC) for day in (23, 24, 26))
CLOCK = StandingMarketClock(datetime(2024, 2, 29, 12, 30, 30, tzinfo=UTC))
RETRY = RetryPolicy(attempts=3, first_wait_seconds=0.01, longest_wait_seconds=0.02)
DAY_BARS = 1440


@pytest.fixture
def server() -> Iterator[OandaServer]:
    bars = made_bars(Venue.OANDA, "EUR_USD", FRIDAY, SATURDAY)
    with OandaServer({"EUR_USD": bars}, now=CLOCK.now()) as server:
        yield server


@contextlib.asynccontextmanager
async def connected(
    server: OandaServer,
    *,
    token: str | None = None,
    retry: RetryPolicy = RETRY,
    timeout: httpx.Timeout = client.TIMEOUT,
    path: str = "",
) -> AsyncIterator[OandaSource]:
    settings = OandaSettings(rest_url=server.url + path, token=SecretStr(token or server.token))
    source = OandaSource(settings, CLOCK, SystemWallClock(), retry=retry, timeout=timeout)
    try:
        yield source
    finally:
        await source.aclose()


async def fetch(
    source: OandaSource,
    start: datetime = FRIDAY,
    end: datetime = SATURDAY,
    *,
    instrument: str = "EUR_USD",
    interval: Interval = Interval.M1,
) -> list[RawPage]:
    return [page async for page in source.pages(instrument, interval, start, end)]


def bars_of(pages: list[RawPage]) -> pl.DataFrame:
    return pl.concat([decode_page(page) for page in pages])


async def test_a_request_is_for_all_prices_of_at_most_a_day(server: OandaServer) -> None:
    async with connected(server) as source:
        await fetch(source)
    (asked,) = server.requests
    assert urlsplit(asked).path == "/v3/instruments/EUR_USD/candles"
    assert parse_qs(urlsplit(asked).query) == {
        "price": ["MBA"],
        "granularity": ["M1"],
        "from": ["2024-02-23T00:00:00Z"],
        "to": ["2024-02-23T23:59:59Z"],
    }


async def test_nothing_later_than_now_is_asked_for(server: OandaServer) -> None:
    async with connected(server) as source:
        pages = await fetch(source, datetime(2024, 2, 29, tzinfo=UTC), datetime(2024, 3, 5, tzinfo=UTC))
    assert [page.end for page in pages] == [CLOCK.now().replace(second=0)]


@pytest.mark.parametrize("interval", list(Interval))
async def test_every_interval_lies_on_the_utc_grid(server: OandaServer, interval: Interval) -> None:
    async with connected(server) as source:
        bars = bars_of(await fetch(source, interval=interval))
    assert bars.height == 86_400 // interval.seconds
    assert (bars["ts"].dt.epoch("s") % interval.seconds == 0).all()
    if interval is Interval.D1:
        assert "dailyAlignment=0&alignmentTimezone=UTC" in server.requests[0]


@pytest.mark.parametrize(
    "fault",
    [Fault.THROTTLED, Fault.SERVER_ERROR, Fault.HTML, Fault.TRUNCATED, Fault.DISCONNECT],
)
async def test_what_passes_is_waited_out(server: OandaServer, fault: Fault) -> None:
    server.misbehave(fault, times=2)
    async with connected(server) as source:
        assert bars_of(await fetch(source)).height == DAY_BARS
    assert len(server.requests) == 3


async def test_an_answer_that_does_not_come_is_asked_for_again(server: OandaServer) -> None:
    server.misbehave(Fault.SILENT)
    often = RetryPolicy(attempts=100, first_wait_seconds=0.01, longest_wait_seconds=0.02)
    async with connected(server, retry=often, timeout=httpx.Timeout(0.5)) as source:
        assert bars_of(await fetch(source, FRIDAY, FRIDAY + timedelta(hours=1))).height == 60
    assert len(server.requests) >= 2


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.THROTTLED, Throttled),
        (Fault.SERVER_ERROR, Unreachable),
        (Fault.HTML, Unreachable),
        (Fault.TRUNCATED, Unreachable),
        (Fault.DISCONNECT, Unreachable),
    ],
)
async def test_what_does_not_pass_is_raised_and_earlier_pages_stay(
    server: OandaServer, fault: Fault, error: type[Exception]
) -> None:
    async with connected(server) as source:
        pages = source.pages("EUR_USD", Interval.M1, FRIDAY + timedelta(hours=12), MONDAY)
        first = await anext(pages)
        server.misbehave_always(fault)
        with pytest.raises(error):
            await anext(pages)
    assert decode_page(first).height == DAY_BARS / 2


async def test_a_throttling_venue_is_given_the_rest_it_asks_for(server: OandaServer) -> None:
    server.misbehave(Fault.THROTTLED, times=2)
    began = time.monotonic()
    async with connected(server) as source:
        await fetch(source)
    assert time.monotonic() - began >= 2 * 0.05


@pytest.mark.parametrize("fault", [Fault.DUPLICATE, Fault.OUT_OF_ORDER, Fault.NAN, Fault.NEGATIVE])
async def test_dirt_is_passed_on_as_it_came(server: OandaServer, fault: Fault) -> None:
    server.misbehave(fault)
    async with connected(server) as source:
        bars = bars_of(await fetch(source))
    assert bars.height == DAY_BARS + (fault is Fault.DUPLICATE)
    assert bars["ts"].is_sorted() == (fault is not Fault.OUT_OF_ORDER)
    assert bars["open"].is_nan().any() == (fault is Fault.NAN)
    assert (bars["low"] < 0).any() == (fault is Fault.NEGATIVE)


async def test_an_incomplete_candle_is_not_returned(server: OandaServer) -> None:
    server.misbehave(Fault.INCOMPLETE)
    async with connected(server) as source:
        assert bars_of(await fetch(source)).height == DAY_BARS - 1


async def test_a_refused_token_is_asked_once_and_says_what_to_set(server: OandaServer) -> None:
    async with connected(server, token="another") as source:
        with pytest.raises(Rejected, match="AUTOTRADER_OANDA__TOKEN") as raised:
            await fetch(source)
        assert not (await source.test_connection()).ok
    assert "another" not in str(raised.value)
    assert len(server.requests) == 2


async def test_no_token_is_a_setting_to_make(server: OandaServer) -> None:
    source = OandaSource(OandaSettings(rest_url=server.url), CLOCK, SystemWallClock(), retry=RETRY)
    with pytest.raises(ConfigurationError, match="AUTOTRADER_OANDA__TOKEN"):
        await fetch(source)
    assert "AUTOTRADER_OANDA__TOKEN" in (await source.test_connection()).reason
    assert server.requests == []


async def test_an_unknown_instrument_is_asked_once(server: OandaServer) -> None:
    async with connected(server) as source:
        with pytest.raises(NotFound, match="XXX_YYY"):
            await fetch(source, instrument="XXX_YYY")
    assert len(server.requests) == 1


async def test_a_name_cannot_leave_its_place_in_the_path(server: OandaServer) -> None:
    async with connected(server) as source:
        with pytest.raises(NotFound):
            await fetch(source, instrument="../accounts?")
    assert server.requests[0].startswith("/v3/instruments/..%2Faccounts%3F/candles?")


async def test_a_wrong_base_url_is_not_taken_for_a_missing_instrument(server: OandaServer) -> None:
    async with connected(server, path="/wrong") as source:
        with pytest.raises(Rejected, match="AUTOTRADER_OANDA__REST_URL"):
            await source.available(["EUR_USD"])


async def test_requests_stay_below_the_venue_s_rate(
    server: OandaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "REQUESTS_PER_SECOND", 2)
    began = time.monotonic()
    async with connected(server) as source:
        for _ in range(3):
            await source.test_connection()
    assert time.monotonic() - began >= 1.0


async def test_recorded_candles_arrive_bar_for_bar() -> None:
    bars = read_bars(real_data.folder() / "fx")
    start, end = datetime(2014, 5, 1, tzinfo=UTC), datetime(2014, 5, 6, tzinfo=UTC)
    expected = bars["EUR_USD"].filter(pl.col("ts") >= start, pl.col("ts") < end).sort("ts")
    with OandaServer(bars) as server:
        async with connected(server) as source:
            got = bars_of(await fetch(source, start, end))
    assert got["ts"].to_list() == expected["ts"].to_list()
    for price in ("open", "high", "low", "close"):
        assert got[price].to_list() == pytest.approx(expected[price].to_list(), abs=1e-9)
    spread = expected["ask_close"] - expected["bid_close"]
    assert got["spread"].to_list() == pytest.approx(spread.to_list(), abs=1e-9)
    assert got.height > 3000
