"""An account begun again at a checkpoint, in a folder of its own, and walked through bars."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import polars as pl

from autotrader.adapters.clocks import SystemWallClock
from autotrader.adapters.process_owner import has_ended, this_process
from autotrader.apps.trader.assembly import Surroundings, assemble, make_keeper
from autotrader.apps.trader.history import past_in
from autotrader.config.settings import (
    PaperSettings,
    RiskSettings,
    Section,
    Settings,
    StrategySettings,
    TradingSettings,
)
from autotrader.db.engine import open_database
from autotrader.db.trading_records import SqlTradingRecords
from autotrader.domain.instruments import InstrumentId, InstrumentRules
from autotrader.domain.orders import Order
from autotrader.domain.positions import Holdings
from autotrader.plain import from_plain
from autotrader.ports.broker import Broker
from autotrader.ports.predictions import Predictor
from autotrader.ports.trading import AccountState, Change, TradingRecords
from autotrader.trading.bars import Batch
from autotrader.trading.checkpoint import Checkpoint
from autotrader.trading.forecasting import EntryRules
from autotrader.trading.lease_keeping import LeaseKeeper
from autotrader.trading.trader import Trader

_IN_TIME, _LATE = timedelta(0), timedelta(days=1)


class Venue(Broker, Protocol):
    """A venue in this process."""

    async def take(self, batch: Batch) -> None:
        """Fill what these bars fill; returns when it was heard."""
        ...


class BarClock:
    """Market time as the bars say, or long after them where they came too late."""

    is_replay = True

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


@dataclass
class Rerun:
    """A trader that is ready for the bars of a checkpoint."""

    trader: Trader
    records: TradingRecords
    keeper: LeaseKeeper
    clock: BarClock

    async def walk(
        self,
        venue: Venue,
        batches: Iterable[Batch],
        *,
        look: Callable[[Batch], bool] = lambda _: True,
        is_late: Callable[[Batch], bool] = lambda _: False,
    ) -> None:
        """Take bars, and write the account.

        Parameters
        ----------
        look : Callable
            Called after each step; it is over where this says False.
        is_late : Callable
            Whether the bars came too late to trade on.
        """
        listening = asyncio.create_task(self._listen(venue))
        await asyncio.sleep(0)
        try:
            for batch in batches:
                self.keeper.renew()
                self.clock.at = batch.closed_at + (_LATE if is_late(batch) else _IN_TIME)
                await venue.take(batch)
                await self.trader.step(batch)
                if not look(batch):
                    break
            self.trader.write()
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening

    async def _listen(self, venue: Venue) -> None:
        async for update in venue.updates():
            self.trader.news.hear(update)


def terms_in(checkpoint: Checkpoint, settings: Settings, *, home: Path) -> Settings:
    """The settings that were in force at a checkpoint; all others do not matter to decisions.

    Raises
    ------
    BadData
        If they are of another version, in a form that this one does not know.
    """
    kinds: dict[str, type[Section]] = {
        "strategy": StrategySettings,
        "trading": TradingSettings,
        "risk": RiskSettings,
        "paper": PaperSettings,
    }
    sections = {name: from_plain(kind, checkpoint.terms.get(name)) for name, kind in kinds.items()}
    return settings.model_copy(update={**sections, "home": home})


def holdings_in(checkpoint: Checkpoint) -> Holdings:
    return Holdings(
        checkpoint.state.account,
        dict(checkpoint.state.cash),
        {position.instrument: position for position in checkpoint.positions},
    )


def rules_in(checkpoint: Checkpoint) -> dict[InstrumentId, InstrumentRules]:
    return {InstrumentId.parse(name): rules for name, rules in checkpoint.rules.items()}


async def begin_again(
    checkpoint: Checkpoint,
    state: AccountState,
    settings: Settings,
    *,
    bars: pl.DataFrame,
    orders: Iterable[Order],
    venue: Venue,
    predictor: Predictor,
    entry_rules: EntryRules,
) -> Rerun:
    """Put a trader together as it was at a checkpoint.

    Parameters
    ----------
    state : AccountState
        The checkpoint's, or what is to be assumed in its place.
    settings : Settings
        As `terms_in` gives them; everything is written into its `home`.
    bars : pl.DataFrame
        Those before the checkpoint are what features look back on.
    orders : iterable of Order
        Recorded ones; those before the checkpoint count for the limits on their number.
    """
    clock = SystemWallClock()
    around = Surroundings(
        account=state.account,
        source=state.source,
        instruments=checkpoint.instruments,
        replayed=True,
        longest_send_seconds=0.0,
    )
    records = SqlTradingRecords(open_database(f"sqlite:///{settings.home}/replay.db"))
    keeper = make_keeper(settings, around, records, clock, owner=this_process(), has_ended=has_ended)
    await keeper.take()
    before = tuple(o for o in orders if o.decided_at <= checkpoint.ts and o.status.is_final)
    records.write(
        keeper.lease,
        Change(state=replace(state, revision=0), orders=before, positions=checkpoint.positions),
    )
    market_clock = BarClock(checkpoint.ts)
    made = await assemble(
        settings,
        around,
        keeper=keeper,
        broker=venue,
        records=records,
        predictor=predictor,
        entry_rules=entry_rules,
        past=past_in(bars, checkpoint.instruments, checkpoint.ts),
        clock=clock,
        market_clock=market_clock,
    )
    for name, price in checkpoint.prices.items():
        made.trader.book.mark(InstrumentId.parse(name), price, checkpoint.priced_at[name])
    return Rerun(made.trader, records, keeper, market_clock)
