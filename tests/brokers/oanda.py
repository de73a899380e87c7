"""OANDA's stand-in, as the broker suite wants it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from decimal import Decimal

from autotrader.adapters.clocks import SystemWallClock
from autotrader.config.settings import OandaSettings
from autotrader.connectors.oanda.broker import OandaBroker
from autotrader.connectors.resilience import RetryPolicy
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.ports.broker import Broker
from tests.brokers.harness import Misbehaviour
from tests.fakes.oanda_account import AccountFault, OandaAccount
from tests.fakes.oanda_server import OandaServer

_FAULTS = {
    Misbehaviour.LOST_REQUEST: AccountFault.LOST_REQUEST,
    Misbehaviour.LOST_ANSWER: AccountFault.LOST_ANSWER,
    Misbehaviour.REJECTED: AccountFault.REJECTED,
    Misbehaviour.THROTTLED: AccountFault.THROTTLED,
    Misbehaviour.DUPLICATE_FILL: AccountFault.DUPLICATE_FILL,
    Misbehaviour.UNTOLD_FILL: AccountFault.UNTOLD_FILL,
    Misbehaviour.LATE_FILL: AccountFault.LATE_FILL,
    Misbehaviour.STALE_ACCOUNT: AccountFault.STALE,
}


class OandaHarness:
    instrument = InstrumentId(Venue.OANDA, "EUR_USD")
    unknown = InstrumentId(Venue.OANDA, "EUR_XXX")
    currency = "USD"
    price = Decimal("1.10000")
    quantity = Decimal(1000)
    cannot: frozenset[Misbehaviour] = frozenset()

    def __init__(self, server: OandaServer, book: OandaAccount) -> None:
        self.server = server
        self.book = book
        self.silence_seconds = 60.0

    def broker(self) -> AbstractAsyncContextManager[Broker]:
        settings = OandaSettings(
            rest_url=self.server.url,
            stream_url=self.server.url,
            token=self.server.token,
            account=self.book.id,
        )
        return OandaBroker(
            settings,
            SystemWallClock(),
            account="main",
            live=False,
            silence_seconds=self.silence_seconds,
            reconnecting=RetryPolicy(first_wait_seconds=0.01, longest_wait_seconds=0.05),
        )

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def trade(self, price: Decimal) -> None:
        self.book.trade(self.instrument.symbol, price)

    async def listening(self) -> None:
        while not self.book.streams:
            await asyncio.sleep(0.005)

    def misbehave(self, kind: Misbehaviour) -> None:
        if kind is Misbehaviour.DISCONNECTED:
            self.book.end_streams()
        else:
            self.book.misbehave(_FAULTS[kind])

    @property
    def due(self) -> int:
        return self.book.due


@contextlib.asynccontextmanager
async def harness(cash: Decimal) -> AsyncIterator[OandaHarness]:
    book = OandaAccount(cash, {"EUR_USD": OandaHarness.price, "USD_JPY": Decimal("150.000")})
    with OandaServer({}, book=book) as server:
        yield OandaHarness(server, book)
