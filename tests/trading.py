"""A trader in a small world: bars that a test makes, a paper venue, a real database."""

from __future__ import annotations

import asyncio
import atexit
import functools
import math
import random
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from autotrader.adapters.clocks import SystemWallClock
from autotrader.adapters.paper_broker import PaperBroker
from autotrader.adapters.paper_journal import PaperJournal
from autotrader.adapters.paper_rules import assumed_rules
from autotrader.adapters.process_owner import has_ended, this_process
from autotrader.apps.trader.assembly import Assembled, Surroundings, assemble, make_keeper
from autotrader.apps.trader.history import PastBars
from autotrader.apps.trader.trade import PaperFeed
from autotrader.config.settings import Settings
from autotrader.db.engine import open_database
from autotrader.db.trading_records import SqlTradingRecords
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.rollout import Color
from autotrader.execution.strategy import EntryRule
from autotrader.features.kernels.layout import LOOKBACK
from autotrader.ports.broker import Broker
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.predictions import Prediction, PredictionRequest
from autotrader.ports.trading import TradingRecords
from autotrader.trading.bars import Bar, Batch, Feed
from autotrader.trading.lease_keeping import LeaseKeeper
from autotrader.trading.trader import Trader

START = datetime(2024, 1, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BTC = InstrumentId(Venue.BINANCE, "BTCUSDT")
ETH = InstrumentId(Venue.BINANCE, "ETHUSDT")


class Scores:
    """Predictor and entry scores in one: the score of a bar is what a function says of it.

    Parameters
    ----------
    score : Callable
        Of instrument and bar open, in [-1, 1]; the same for the same bar.
    """

    def __init__(self, score: Callable[[str, datetime], float]) -> None:
        self._score = score
        self.fails: Exception | None = None

    def of(self, version: str) -> EntryRule:
        return EntryRule(0.1, every_bars=1)

    async def predict(self, request: PredictionRequest) -> Prediction:
        if self.fails is not None:
            raise self.fails
        score = self._score(request.instrument, request.ts[0])
        up, down = max(score, 0.0), max(-score, 0.0)
        return Prediction(
            request_id=request.request_id,
            instrument=request.instrument,
            color=Color.BLUE,
            version="v1.0.0",
            epoch=1,
            probabilities=((down, 1 - up - down, up),),
            seconds=0.0,
        )


def turning(instrument: str, ts: datetime) -> float:
    """Up for twenty minutes, then silent for ten, then down for ten; instruments a quarter apart."""
    phase = (ts.hour * 60 + ts.minute + 10 * (sum(instrument.encode()) % 4)) % 40
    return 0.6 if phase < 20 else 0.0 if phase < 30 else -0.6


def walk(
    instruments: Sequence[InstrumentId], minutes: int, *, start: datetime = START, seed: int = 1
) -> list[Batch]:
    """A random walk of prices, a bar a minute, before and after `start`: `LOOKBACK` bars ahead of it."""
    moves = random.Random(seed)
    prices = {i: 100.0 * (n + 1) for n, i in enumerate(instruments)}
    batches = []
    for minute in range(-LOOKBACK, minutes):
        bars = []
        for instrument in instruments:
            opened = prices[instrument]
            closed = round(opened * math.exp(moves.gauss(0.0, 0.001)), 2)
            high, low = max(opened, closed) + 0.05, min(opened, closed) - 0.05
            bars.append(Bar(instrument, opened, round(high, 2), round(low, 2), closed, 500.0, 250.0))
            prices[instrument] = closed
        at = start + minute * MINUTE
        batches.append(Batch(at, at + MINUTE, tuple(bars)))
    return batches


@dataclass
class ListFeed:
    """Bars of a list, after the given open, given to the paper venue before anybody else."""

    bars: Sequence[Batch]
    paper: PaperBroker
    after: datetime | None = None
    before_each: Callable[[Batch], None] = lambda _: None

    async def batches(self) -> AsyncIterator[Batch]:
        for batch in self.bars:
            if self.after is None or batch.ts > self.after:
                self.before_each(batch)
                await self.paper.take(batch)
                yield batch


def past_of(batches: Iterable[Batch], until: datetime) -> dict[InstrumentId, PastBars]:
    """What features look back on, from the bars with opens before `until`."""
    rows: dict[InstrumentId, list[tuple[int, tuple[float, ...]]]] = {}
    for batch in batches:
        if batch.ts < until:
            for bar in batch.bars:
                values = (bar.high, bar.low, bar.close, bar.volume, bar.taker_buy)
                rows.setdefault(bar.instrument, []).append((round(batch.ts.timestamp() * 1e6), values))
    return {
        instrument: PastBars(
            np.array([at for at, _ in kept[-LOOKBACK:]], np.int64),
            np.array([values for _, values in kept[-LOOKBACK:]], np.float64).T.copy(),
        )
        for instrument, kept in rows.items()
    }


@functools.cache
def _migrated() -> Path:
    """An empty database that is up to date, made once."""
    folder = Path(tempfile.mkdtemp(prefix="autotrader-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    open_database(f"sqlite:///{folder}/autotrader.db").dispose()
    return folder / "autotrader.db"


@dataclass
class World:
    """One account's surroundings, kept on disk: a trader can be started in it again and again."""

    folder: Path
    bars: list[Batch]
    instruments: tuple[InstrumentId, ...] = (BTC, ETH)
    predictor: Scores = field(default_factory=lambda: Scores(turning))
    settings: Settings = field(default_factory=lambda: Settings(_env_file=None))
    account: str = "main"
    start: datetime = START
    durable: bool = False
    replayed: bool = True
    wrap: Callable[[PaperBroker], Broker] = lambda broker: broker
    clock: WallClock = field(default_factory=SystemWallClock)
    market_clock: MarketClock | None = None
    owner: Callable[[], str] = this_process
    has_ended: Callable[[str], bool] = has_ended

    def __post_init__(self) -> None:
        database = self.folder / "autotrader.db"
        if not database.exists():
            shutil.copy(_migrated(), database)
        self.records: TradingRecords = SqlTradingRecords(open_database(f"sqlite:///{database}"))

    @property
    def live(self) -> list[Batch]:
        """The bars to be traded."""
        return [batch for batch in self.bars if batch.ts >= self.start]

    def paper(self) -> PaperBroker:
        """The venue, as it remembers itself."""
        rules = {
            i: assumed_rules(
                i, (b.close for batch in self.bars[:100] for b in batch.bars if b.instrument == i)
            )
            for i in self.instruments
        }
        return PaperBroker(
            self.account,
            Venue.BINANCE,
            currency="USDT",
            rules=rules,
            settings=self.settings.paper,
            journal=PaperJournal(self.folder / f"paper-{self.account}.jsonl", durable=self.durable),
            clock=self.clock,
        )

    @property
    def around(self) -> Surroundings:
        return Surroundings(self.account, "recorded", self.instruments, self.replayed, 0.0)

    async def keeper(self) -> LeaseKeeper:
        """Holds the lease: nobody else writes to the venue's journal from now on."""
        keeper = make_keeper(
            self.settings,
            self.around,
            self.records,
            self.clock,
            owner=self.owner(),
            has_ended=self.has_ended,
        )
        await keeper.take()
        return keeper

    async def assembled(
        self, keeper: LeaseKeeper, broker: Broker, watch: Callable[[Trader], None] = lambda _: None
    ) -> Assembled:
        """A trader under the lease."""
        state = self.records.state(self.account)
        cursor = state.cursor if state and state.cursor else self.start - MINUTE
        return await assemble(
            self.settings,
            self.around,
            keeper=keeper,
            broker=broker,
            records=self.records,
            predictor=self.predictor,
            entry_rules=self.predictor,
            past=past_of(self.bars, cursor + MINUTE),
            clock=self.clock,
            market_clock=self.market_clock,
            watch=watch,
        )

    async def trade(
        self,
        *,
        before_each: Callable[[Batch], None] = lambda _: None,
        watch: Callable[[Trader], None] = lambda _: None,
        bars: Sequence[Batch] | None = None,
        stopped_by: signal.Signals | None = None,
        feed: Feed | None = None,
    ) -> Assembled:
        """Go through the bars that the account has not dealt with, and stop in order."""
        keeper = await self.keeper()
        paper = self.paper()
        async with paper:
            made = await self.assembled(keeper, self.wrap(paper), watch)
            if stopped_by is not None:
                asyncio.get_running_loop().add_signal_handler(stopped_by, made.session.stop)
            cursor = made.trader.accounting.state.cursor
            self.session = made.session
            given: Feed = ListFeed(bars or self.live, paper, cursor, before_each)
            await made.session.run(PaperFeed(feed, paper) if feed else given, made.start, made.why)
        return made

    def run(self, **options: object) -> Assembled:
        return asyncio.run(self.trade(**options))  # type: ignore[arg-type]
