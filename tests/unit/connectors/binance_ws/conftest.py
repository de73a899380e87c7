"""A simulated market behind the stand-in exchange, and sources that are connected to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime

import pytest

from autotrader.adapters.clocks import StandingMarketClock, SystemWallClock
from autotrader.apps.exchange.server import StandInExchange, running
from autotrader.apps.exchange.simulated import SimulatedMarket
from autotrader.config.settings import BinanceSettings
from autotrader.connectors.binance_ws.source import BinanceSource
from autotrader.connectors.resilience import RetryPolicy

MARKET_END = datetime(2024, 3, 1, tzinfo=UTC)
QUICK = RetryPolicy(attempts=3, first_wait_seconds=0.01, longest_wait_seconds=0.05)


@pytest.fixture(scope="session")
def market() -> SimulatedMarket:
    return SimulatedMarket(("BTCUSDT", "ETHUSDT"), seed=11, end=MARKET_END, days=4)


@pytest.fixture
def exchange(market: SimulatedMarket) -> Iterator[StandInExchange]:
    with running(StandInExchange(market)) as exchange:
        yield exchange


@pytest.fixture
async def connect(exchange: StandInExchange) -> AsyncIterator[Callable[..., BinanceSource]]:
    """Makes sources of the exchange; keywords are the source's and the settings'."""
    opened: list[BinanceSource] = []

    def make(*, retry: RetryPolicy = QUICK, weight_window_seconds: float = 60.0, **settings: object):
        source = BinanceSource(
            BinanceSettings(rest_url=exchange.rest_url, source=exchange.market.source, **settings),
            StandingMarketClock(MARKET_END),
            SystemWallClock(),
            retry=retry,
            weight_window_seconds=weight_window_seconds,
        )
        opened.append(source)
        return source

    yield make
    for source in opened:
        await source.aclose()
