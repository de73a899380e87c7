"""A trader in a process of its own, on paper, in a market of waves: its arguments are a folder and a port.

Files in its folder are what goes wrong: `misled` (the model sees each wave the wrong way round, and is not
sure of it), `differs` (the venue says that we hold more than we bought), `crash` (the market falls, for as
long as it is there).
"""

from __future__ import annotations

import asyncio
import math
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from autotrader.apps.trader import metrics as trader_metrics
from autotrader.config.settings import Settings
from autotrader.domain.instruments import InstrumentId
from autotrader.features.kernels.layout import LOOKBACK
from autotrader.ports.broker import VenueAccount
from autotrader.trading.bars import Bar, Batch
from tests.fakes.misbehaving_broker import MisbehavingBroker
from tests.trading import BTC, ETH, MINUTE, START, Scores, World

MISLED, DIFFERS, CRASH = "misled", "differs", "crash"
WAVE_BARS, HEIGHT = 20, 0.0005  # up and down: long on the wrong half of a wave costs little
BARS_A_SECOND = 20
FALL, BOTTOM = 0.01, 0.3  # of a bar; and what is left of prices at most
CERTAIN, UNSURE = 0.8, 0.45  # of what it says; unsure, the model thinks "neither" more likely
TOO_MUCH = Decimal(5)

SETTINGS: dict[str, dict[str, float]] = {
    "strategy": {"horizon_minutes": 5, "round_trip_cost_bps": 0.5},
    "paper": {"participation": 1.0, "fee_bps": 1.0, "half_spread_bps": 0.0, "slippage_bps": 0.0},
    # Rows of losses would only slow down what is looked for.
    "risk": {
        "pause_losses": 10_000,
        "halt_losses": 10_001,
        "orders_per_minute": 100,
        "orders_per_hour": 10_000,
        "orders_per_day": 100_000,
    },
    "trading": {"reconcile_seconds": 2, "lease_seconds": 3},
}


def wave(at: datetime) -> float:
    """Where the market is at that time, around 1."""
    minutes = (at - START) / MINUTE
    return 1 + HEIGHT * math.sin(2 * math.pi * minutes / WAVE_BARS)


class Market:
    """Bars from the given one on, some a second, and what a folder says of them."""

    def __init__(self, folder: Path, first: datetime) -> None:
        self._folder = folder
        self._first = first
        self._kept = folder / "level"
        self._level = float(self._kept.read_text()) if self._kept.exists() else 1.0

    def __contains__(self, fault: str) -> bool:
        return (self._folder / fault).exists()

    def batch(self, at: datetime) -> Batch:
        bars = tuple(self._bar(i, 100.0 * n * self._level, at) for n, i in enumerate((BTC, ETH), start=1))
        return Batch(at, at + MINUTE, bars)

    def fall(self) -> None:
        """By the next bar prices are lower, and stay so over a restart."""
        self._level = max(BOTTOM, self._level * (1 - FALL))
        self._kept.write_text(str(self._level))

    @staticmethod
    def _bar(instrument: InstrumentId, price: float, at: datetime) -> Bar:
        opened, closed = round(price * wave(at), 4), round(price * wave(at + MINUTE), 4)
        high, low = max(opened, closed), min(opened, closed)
        return Bar(instrument, opened, high, low, closed, 500_000.0, 250_000.0)

    def past(self) -> list[Batch]:
        return [self.batch(self._first + n * MINUTE) for n in range(-LOOKBACK, 0)]

    async def batches(self) -> AsyncIterator[Batch]:
        at = self._first
        while True:
            if CRASH in self:
                self.fall()
            yield self.batch(at)
            at += MINUTE
            await asyncio.sleep(1 / BARS_A_SECOND)

    def score(self, _: str, ts: datetime) -> float:
        """Of the bar after next: an order of this one is filled at the next one's open."""
        rises = wave(ts + 3 * MINUTE) > wave(ts + MINUTE)
        sure = UNSURE if MISLED in self else CERTAIN
        return sure if rises is not (MISLED in self) else -sure


class Venue(MisbehavingBroker):
    """The paper venue, which may say that more is held than is."""

    market: Market

    async def account(self, instruments: Sequence[InstrumentId]) -> VenueAccount:
        account = await super().account(instruments)
        if DIFFERS not in self.market:
            return account
        held = dict(account.positions)
        return replace(account, positions={**held, BTC: held.get(BTC, Decimal(0)) + TOO_MUCH})


def main(folder: Path, port: int) -> None:
    trader_metrics._FRESH_SECONDS = 1.0
    given = {**SETTINGS, "trading": {**SETTINGS["trading"], "metrics_port": port}}
    settings = Settings(_env_file=None, home=folder, **given)  # type: ignore[arg-type]
    world = World(folder, [], settings=settings)
    state = world.records.state(world.account)
    market = Market(folder, state.cursor + MINUTE if state and state.cursor else START)
    world.bars = market.past()
    world.predictor = Scores(market.score)

    def venue(paper: object) -> Venue:
        made = Venue(paper, lambda *_: None)  # type: ignore[arg-type]
        made.market = market
        return made

    world.wrap = venue  # type: ignore[assignment]
    metrics = trader_metrics.TradingMetrics(settings, world.records, world.account)
    with metrics.served():
        world.run(feed=market, watch=metrics.take, stopped_by=signal.SIGTERM)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
