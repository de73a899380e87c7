"""The paper venue, as the broker suite wants it: it is in this process, so nothing gets lost on the way."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from autotrader.adapters.paper_broker import PaperBroker
from autotrader.adapters.paper_journal import PaperJournal
from autotrader.config.settings import PaperSettings
from autotrader.domain.instruments import InstrumentId, InstrumentRules, Venue
from autotrader.ports.broker import Broker
from autotrader.trading.bars import Bar, Batch
from tests.brokers.harness import Misbehaviour
from tests.fakes.clocks import SettableClock

MINUTE = timedelta(minutes=1)
RULES = InstrumentRules(Decimal("0.01"), Decimal("0.001"), Decimal(5), "USDT", "BTC")


class PaperHarness:
    instrument = InstrumentId(Venue.BINANCE, "BTCUSDT")
    unknown = InstrumentId(Venue.BINANCE, "XXXUSDT")
    currency = "USDT"
    price = Decimal(100)
    quantity = Decimal(4)
    cannot: frozenset[Misbehaviour] = frozenset(Misbehaviour)

    def __init__(self, cash: Decimal, journal: Path) -> None:
        self._settings = PaperSettings(initial_cash=cash, slippage_bps=0, half_spread_bps=0, participation=1)
        self._journal = journal
        self._clock = SettableClock(datetime(2024, 3, 1, tzinfo=UTC))
        self._open: PaperBroker

    @contextlib.asynccontextmanager
    async def broker(self) -> AsyncIterator[Broker]:
        self._open = PaperBroker(
            "main",
            Venue.BINANCE,
            currency=self.currency,
            rules={self.instrument: RULES},
            settings=self._settings,
            journal=PaperJournal(self._journal),
            clock=self._clock,
        )
        async with self._open:
            yield self._open

    def now(self) -> datetime:
        return self._clock.now()

    async def trade(self, price: Decimal) -> None:
        self._clock.advance(MINUTE)
        bar = Bar(self.instrument, *[float(price)] * 4, 1_000_000.0, 0.0)
        await self._open.take(Batch(self.now(), self.now() + MINUTE, (bar,)))

    async def listening(self) -> None:
        while not self._open.is_listened_to:
            await asyncio.sleep(0)

    def misbehave(self, kind: Misbehaviour) -> None:
        raise NotImplementedError(kind)


@contextlib.asynccontextmanager
async def harness(cash: Decimal) -> AsyncIterator[PaperHarness]:
    with tempfile.TemporaryDirectory() as folder:
        yield PaperHarness(cash, Path(folder) / "journal.jsonl")
