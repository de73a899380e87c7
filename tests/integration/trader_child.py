"""A trader in a process of its own, to be killed: `python -m tests.integration.trader_child FOLDER URLS`."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime
from pathlib import Path

from autotrader.adapters.clocks import SystemWallClock
from autotrader.config.settings import BinanceSettings
from autotrader.connectors.binance_ws.broker import BinanceBroker
from autotrader.trading import session
from tests.brokers.binance import BinanceHarness
from tests.brokers.trading import VenueWorld


class FarHarness(BinanceHarness):
    """The exchange of another process: told of by its addresses."""

    def __init__(self, about: dict[str, object]) -> None:
        self._about = about

    def broker(self) -> BinanceBroker:
        reached = BinanceSettings.model_validate(self._about["settings"])
        return BinanceBroker(reached, SystemWallClock(), account="main", live=False)

    def now(self) -> datetime:
        return datetime.fromisoformat(str(self._about["now"]))

    async def trade(self, price: object) -> None:
        """The market stands where it is."""

    async def listening(self) -> None:
        await asyncio.sleep(0.2)


async def _main(folder: str, about: str) -> None:
    told = json.loads(about)
    world = VenueWorld(Path(folder), FarHarness(told), told["scores"])
    await world.run()


if __name__ == "__main__":
    session.TICK_SECONDS = 0.05
    asyncio.run(_main(*sys.argv[1:]))
