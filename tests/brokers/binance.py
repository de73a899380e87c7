"""The stand-in exchange as a broker's venue."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import aiohttp
import polars as pl
from pydantic import SecretStr

from autotrader.adapters.clocks import SystemWallClock
from autotrader.apps.exchange.faults import Fault, FaultKind
from autotrader.apps.exchange.market import CANDLES
from autotrader.apps.exchange.server import StandInExchange, running
from autotrader.apps.exchange.signatures import KEY, SECRET
from autotrader.config.settings import BinanceSettings
from autotrader.connectors.binance_ws.broker import BinanceBroker
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.ports.broker import Broker
from tests.brokers.harness import BrokerHarness, Misbehaviour

SYMBOL = "BTCUSDT"
START, END = datetime(2024, 2, 29, 22, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)
PRICE = 100.0
FAULTS = {
    Misbehaviour.LOST_REQUEST: Fault(FaultKind.LOST, path="order.place"),
    Misbehaviour.LOST_ANSWER: Fault(FaultKind.RESET, path="order.place"),
    Misbehaviour.REJECTED: Fault(FaultKind.REJECTED, path="order.place"),
    Misbehaviour.THROTTLED: Fault(FaultKind.THROTTLED, path="order.place"),
    Misbehaviour.DUPLICATE_FILL: Fault(FaultKind.DUPLICATE, path="user_stream"),
    Misbehaviour.UNTOLD_FILL: Fault(FaultKind.GAP, path="user_stream"),
    Misbehaviour.LATE_FILL: Fault(FaultKind.LATE_FILL, path="order.cancel"),
    Misbehaviour.STALE_ACCOUNT: Fault(FaultKind.STALE, path="account"),
}


@dataclass(frozen=True)
class FlatMarket:
    """A price that never moves by itself."""

    source = "recorded"
    symbols = (SYMBOL,)
    start, end = START, END

    def candles(self, symbol: str) -> pl.DataFrame:
        minutes = pl.datetime_range(START, END, "1m", closed="left", eager=True, time_unit="us")
        flat = dict.fromkeys(("open", "high", "low", "close"), PRICE)
        volumes = {"volume": 10.0, "quote_volume": 1000.0, "taker_buy_base": 5.0, "taker_buy_quote": 500.0}
        values = {name: pl.lit(value) for name, value in {**flat, **volumes}.items()}
        return (
            pl.DataFrame({"ts": minutes}).with_columns(**values, trade_count=pl.lit(10)).select(list(CANDLES))
        )

    def steps(self, symbol: str) -> tuple[float, float]:
        return 0.01, 0.001


class BinanceHarness:
    """See `BrokerHarness`."""

    instrument = InstrumentId(Venue.BINANCE, SYMBOL)
    unknown = InstrumentId(Venue.BINANCE, "NOSUCH")
    currency = "USDT"
    price = Decimal(100)
    quantity = Decimal(1)
    cannot: frozenset[Misbehaviour] = frozenset()

    def __init__(self, exchange: StandInExchange, http: aiohttp.ClientSession) -> None:
        self.exchange = exchange
        self._http = http

    def broker(self) -> AbstractAsyncContextManager[Broker]:
        return BinanceBroker(settings_of(self.exchange), SystemWallClock(), account="main", live=False)

    def now(self) -> datetime:
        return self.exchange.clock.now()

    async def trade(self, price: Decimal) -> None:
        self.exchange.advance(timedelta(milliseconds=1))  # no two things happen at one instant
        async with self._http.post("/_trades", json={"symbol": SYMBOL, "price": str(price)}) as answer:
            answer.raise_for_status()

    async def listening(self) -> None:
        while not self.exchange.user_stream.subscriptions:
            await asyncio.sleep(0.005)

    def misbehave(self, kind: Misbehaviour) -> None:
        if kind is Misbehaviour.DISCONNECTED:
            self.exchange.cut_user_streams()
        else:
            self.exchange.faults.add(FAULTS[kind])

    @property
    def due(self) -> int:
        return len(self.exchange.faults.due())


def settings_of(exchange: StandInExchange, **given: object) -> BinanceSettings:
    """How to reach the exchange's account; a lost request is soon too old to arrive."""
    reached = {
        "rest_url": exchange.rest_url,
        "account_stream_url": exchange.account_stream_url,
        "api_key": SecretStr(KEY),
        "api_secret": SecretStr(SECRET),
        "recv_window_ms": 500,
    }
    return BinanceSettings.model_validate({**reached, **given})


@contextlib.asynccontextmanager
async def harness(cash: Decimal) -> AsyncIterator[BrokerHarness]:
    """A stand-in exchange with an account of so many USDT."""
    with running(StandInExchange(FlatMarket(), balances={"USDT": cash})) as exchange:
        async with aiohttp.ClientSession(exchange.rest_url) as http:
            yield BinanceHarness(exchange, http)
