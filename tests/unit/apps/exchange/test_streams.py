"""The WebSocket protocol: updates of the open bar, then the closed one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from autotrader.apps.exchange.feeds import UPDATES_PER_BAR
from autotrader.apps.exchange.klines import epoch_ms
from autotrader.apps.exchange.server import StandInExchange, running
from autotrader.apps.exchange.simulated import SimulatedMarket

from .conftest import MARKET_END, ask

NOW = MARKET_END - timedelta(hours=1)


@pytest.fixture
def live(market: SimulatedMarket) -> Iterator[StandInExchange]:
    with running(StandInExchange(market, market_time=NOW)) as exchange:
        yield exchange


async def take(exchange: StandInExchange, path: str, count: int, *, advance: timedelta) -> list[Any]:
    """Connect, let market time pass, and take messages."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{exchange.stream_url}{path}") as socket,
        asyncio.timeout(60),
    ):
        while not exchange.stream_connections:
            await asyncio.sleep(0.01)
        exchange.advance(advance)
        return [await socket.receive_json() for _ in range(count)]


async def test_a_bar_is_updated_until_it_closes(live: StandInExchange, market: SimulatedMarket) -> None:
    events = await take(live, "/ws/btcusdt@kline_1m", UPDATES_PER_BAR + 1, advance=timedelta(minutes=2))
    bars = [event["k"] for event in events]
    assert [bar["x"] for bar in bars] == [False] * (UPDATES_PER_BAR - 1) + [True, False]
    assert [bar["t"] for bar in bars] == [epoch_ms(NOW)] * UPDATES_PER_BAR + [epoch_ms(NOW) + 60_000]
    row = market.candles("BTCUSDT").row(-60, named=True)
    closed = bars[UPDATES_PER_BAR - 1]
    names = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume", "V": "taker_buy_base"}
    assert {k: float(closed[k]) for k in names} == {k: row[name] for k, name in names.items()}
    assert (closed["T"], closed["n"], closed["s"]) == (closed["t"] + 59_999, row["trade_count"], "BTCUSDT")
    assert events[UPDATES_PER_BAR - 1]["E"] == epoch_ms(NOW) + 60_000


async def test_a_combined_stream_names_its_streams(live: StandInExchange) -> None:
    path = "/stream?streams=btcusdt@kline_1m/ethusdt@kline_5m"
    messages = await take(live, path, 6 * UPDATES_PER_BAR, advance=timedelta(minutes=5))
    assert {m["stream"] for m in messages} == {"btcusdt@kline_1m", "ethusdt@kline_5m"}
    assert {m["data"]["s"] for m in messages} == {"BTCUSDT", "ETHUSDT"}


@pytest.mark.parametrize("stream", ["nosuch@kline_1m", "btcusdt@depth5", "btcusdt@kline_7m"])
async def test_what_is_not_served_stays_silent(live: StandInExchange, stream: str) -> None:
    messages = await take(live, f"/stream?streams={stream}/btcusdt@kline_1m", 4, advance=timedelta(minutes=1))
    assert {m["stream"] for m in messages} == {"btcusdt@kline_1m"}


async def test_market_time_runs_at_the_speed_that_is_set(live: StandInExchange) -> None:
    ask(f"{live.rest_url}/_clock", method="POST", body={"speed": 600})
    events = await take(live, "/ws/btcusdt@kline_1m", 8, advance=timedelta(0))
    assert sum(event["k"]["x"] for event in events) == 2


def test_the_clock_is_set_over_http(live: StandInExchange) -> None:
    url = f"{live.rest_url}/_clock"
    assert ask(url, method="POST", body={"advance_seconds": 90})[1]["now"] == "2024-02-29T23:01:30+00:00"
    assert ask(url, method="POST", body={"now": "2024-02-28"})[1]["now"] == "2024-02-28T00:00:00+00:00"
    assert ask(f"{live.rest_url}/api/v3/time")[1]["serverTime"] == epoch_ms(NOW - timedelta(hours=47))


async def test_stopping_ends_open_streams(market: SimulatedMarket) -> None:
    exchange = StandInExchange(market)
    await exchange.start()
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{exchange.stream_url}/ws/btcusdt@kline_1m") as socket,
        asyncio.timeout(60),
    ):
        await exchange.stop()
        message = await socket.receive()
    assert message.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING}
