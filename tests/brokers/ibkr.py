"""The stand-in gateway of Interactive Brokers, as the broker suite wants it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

from autotrader.adapters.clocks import SystemWallClock
from autotrader.config.settings import IbkrSettings
from autotrader.connectors.ibkr_connector.broker import IbkrBroker, TradingPatience
from autotrader.connectors.resilience import RetryPolicy
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.ports.broker import Broker
from tests.brokers.harness import Misbehaviour
from tests.fakes.tws_account import AccountFault, TwsAccount
from tests.fakes.tws_gateway import TwsGateway

_FAULTS = {
    Misbehaviour.LOST_REQUEST: AccountFault.LOST_REQUEST,
    Misbehaviour.LOST_ANSWER: AccountFault.LOST_ANSWER,
    Misbehaviour.REJECTED: AccountFault.REJECTED,
    Misbehaviour.THROTTLED: AccountFault.THROTTLED,
    Misbehaviour.DUPLICATE_FILL: AccountFault.DUPLICATE_FILL,
    Misbehaviour.UNTOLD_FILL: AccountFault.UNTOLD_FILL,
    Misbehaviour.LATE_FILL: AccountFault.LATE_FILL,
}
Library = Literal["ib_async", "ib_insync"]
CLIENT_ID = 17
PATIENCE = TradingPatience(
    connect_seconds=60.0,
    request_seconds=60.0,
    commission_seconds=60.0,
    pacing_rest_seconds=0.1,
    reconnecting=RetryPolicy(first_wait_seconds=0.02, longest_wait_seconds=0.05),
)


class IbkrHarness:
    instrument = InstrumentId(Venue.IBKR, "AAPL")
    unknown = InstrumentId(Venue.IBKR, "NOPE")
    currency = "USD"
    price = Decimal("180.00")
    quantity = Decimal(8)
    # The gateway tells no time of what is in an account.
    cannot = frozenset({Misbehaviour.STALE_ACCOUNT})

    def __init__(self, gateway: TwsGateway, account: TwsAccount, library: Library) -> None:
        self.gateway = gateway
        self.account = account
        self.patience = PATIENCE
        self.settings = IbkrSettings(port=gateway.port, library=library, client_id=CLIENT_ID)

    def broker(self) -> AbstractAsyncContextManager[Broker]:
        return IbkrBroker(
            self.settings, SystemWallClock(), account="main", live=False, patience=self.patience
        )

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def trade(self, price: Decimal) -> None:
        self.gateway.do(lambda: self.account.trade(self.instrument.symbol, price))

    async def listening(self) -> None:
        while CLIENT_ID not in self.account.clients:
            await asyncio.sleep(0.005)

    def misbehave(self, kind: Misbehaviour) -> None:
        if kind is Misbehaviour.DISCONNECTED:
            self.gateway.drop_clients()
        else:
            self.account.misbehave(_FAULTS[kind])

    @property
    def due(self) -> int:
        return self.account.due


@contextlib.asynccontextmanager
async def _harness(library: Library, cash: Decimal) -> AsyncIterator[IbkrHarness]:
    account = TwsAccount(cash, {"AAPL": IbkrHarness.price, "MSFT": Decimal("400.00")})
    with TwsGateway({}, account=account) as gateway:
        yield IbkrHarness(gateway, account, library)


harness = functools.partial(_harness, "ib_async")
harness_of_ancestor = functools.partial(_harness, "ib_insync")
