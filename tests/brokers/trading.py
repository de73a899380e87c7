"""A trader on a venue's stand-in: minutes that a test makes, a real broker object, a real database."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from autotrader.adapters.clocks import SystemWallClock
from autotrader.adapters.process_owner import has_ended, this_process
from autotrader.apps.trader.assembly import Assembled, Surroundings, assemble, make_keeper
from autotrader.config.settings import Settings
from autotrader.db.engine import open_database
from autotrader.db.trading_records import SqlTradingRecords
from autotrader.domain.instruments import InstrumentRules
from autotrader.domain.orders import Order, to_tick
from autotrader.features.kernels.layout import LOOKBACK
from autotrader.ports.broker import Broker, VenueAccount
from autotrader.ports.trading import AccountState, Page, Recovery
from autotrader.trading.bars import Bar, Batch
from tests.brokers.harness import BrokerHarness
from tests.trading import Scores, past_of

MINUTE = timedelta(minutes=1)
CALM = timedelta(seconds=0.3)  # wall time of a minute here: several times what a stand-in needs to answer
PIECE_SECONDS = 0.02
SOON = 60.0  # seconds, for what is done within a second or two where nothing else is
MOVES = 0.0003  # standard deviation of a minute's return
CENTS = Decimal("0.02")
EVERYTHING = Page(limit=10_000)

Minute = Callable[[int], Awaitable[None]]


def settings(**changed: object) -> Settings:
    """Orders near the market, and no pause after small losses; reconciled twice a second."""
    given: dict[str, dict[str, object]] = {
        "risk": {"price_band": 0.004, "pause_losses": 1_000, "halt_losses": 1_000},
        "trading": {"reconcile_seconds": 0.5},
    }
    for name, section in changed.items():
        given[name] = {**given.get(name, {}), **section}  # type: ignore[dict-item]
    return Settings.model_validate({**Settings(_env_file=None).model_dump(), **_merged(given)})


def _merged(given: dict[str, dict[str, object]]) -> dict[str, object]:
    plain = Settings(_env_file=None).model_dump()
    return {name: {**plain[name], **section} for name, section in given.items()}


async def nothing(_: int) -> None:
    """A minute in which nothing goes wrong."""


@dataclass
class VenueWorld:
    """One account at one venue, and what its trader remembers.

    Attributes
    ----------
    harness : BrokerHarness
    scores : sequence of float
        Of each minute; the last one goes on.
    before : callable
        Called with the number of each minute before its bar is known.
    after : callable
        The same, once the trader has had time for it.
    away : set of int
        Minutes whose bar the venue's market has left by a hundredth: what is ordered on it waits there.
    silent : set of int
        Minutes in which nobody trades at the venue, so that no order there is filled by the market.
    """

    folder: Path
    harness: BrokerHarness
    scores: Sequence[float]
    settings: Settings = field(default_factory=settings)
    before: Minute = nothing
    after: Minute = nothing
    away: frozenset[int] = frozenset()
    silent: frozenset[int] = frozenset()
    calm: timedelta = CALM
    recoveries: list[Recovery] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.records = SqlTradingRecords(open_database(f"sqlite:///{self.folder}/autotrader.db"))
        self.clock = SystemWallClock()
        opened = self.harness.now().replace(second=0, microsecond=0) - len(self.scores) * MINUTE
        self.bars = _walk(self.harness, opened, len(self.scores))
        self.opened = opened
        self.predictor = Scores(self._score)

    def _score(self, _: str, ts: datetime) -> float:
        return self.scores[min((ts - self.opened) // MINUTE, len(self.scores) - 1)]

    @property
    def around(self) -> Surroundings:
        return Surroundings("main", "recorded", (self.harness.instrument,), False, 1.5)

    @property
    def state(self) -> AccountState:
        state = self.records.state("main")
        assert state is not None
        return state

    async def run(self, upto: int | None = None) -> Assembled:
        """Trade the minutes that the account has not seen, up to this one, and stop in order."""
        keeper = make_keeper(
            self.settings, self.around, self.records, self.clock, owner=this_process(), has_ended=has_ended
        )
        await keeper.take()
        async with self.harness.broker() as broker:
            made = await self.assembled(keeper, broker)
            feed = _Minutes(self, made.trader.accounting.state.cursor, upto)
            await made.session.run(feed, made.start, made.why)
        return made

    async def assembled(self, keeper: object, broker: Broker) -> Assembled:
        state = self.records.state("main")
        cursor = state.cursor if state and state.cursor else self.opened - MINUTE
        return await assemble(
            self.settings,
            self.around,
            keeper=keeper,  # type: ignore[arg-type]
            broker=broker,
            records=self.records,
            predictor=self.predictor,
            entry_rules=self.predictor,
            past=past_of(self.bars, cursor + MINUTE),
            clock=self.clock,
            tell=self.recoveries.append,
        )

    async def theirs(self) -> VenueAccount:
        """What the venue says, asked by somebody who remembers nothing."""
        async with self.harness.broker() as broker:
            await broker.rules([self.harness.instrument])
            return await broker.account([self.harness.instrument])

    def orders(self) -> list[Order]:
        """Oldest first."""
        return list(reversed(self.records.orders("main", EVERYTHING)))

    async def require_agreement(self) -> None:
        """Positions, cash and equity are the venue's; no order works on, none is in doubt."""
        theirs, ours = await self.theirs(), self.records.holdings("main")
        instrument = self.harness.instrument
        rules = await self._rules()
        held = theirs.positions.get(instrument, Decimal(0))
        assert abs(ours.position(instrument).quantity - held) < rules.lot, (ours, theirs)
        for currency in {*ours.cash, rules.currency}:
            mine, its = ours.cash.get(currency, Decimal(0)), theirs.cash.get(currency, Decimal(0))
            if currency != rules.base_currency:
                assert abs(mine - its) < CENTS, (currency, mine, its)
        assert not self.records.working_orders("main")

    async def require_each_order_once(self) -> None:
        """What the venue has traded for each order is what we believe, and never more than was ordered."""
        orders = {order.client_order_id: order for order in self.orders()}
        traded = dict.fromkeys(orders, Decimal(0))
        async with self.harness.broker() as broker:
            for fill in await broker.fills([self.harness.instrument], self.opened - timedelta(days=1)):
                assert fill.client_order_id in orders, fill
                traded[fill.client_order_id] += fill.quantity
        for client_id, order in orders.items():
            assert traded[client_id] == order.filled <= order.quantity, order

    async def _rules(self) -> InstrumentRules:
        async with self.harness.broker() as broker:
            return (await broker.rules([self.harness.instrument]))[self.harness.instrument]


class _Minutes:
    """The market's minutes: the venue trades at each bar's close before the trader hears of it."""

    def __init__(self, world: VenueWorld, cursor: datetime | None, upto: int | None) -> None:
        self._world, self._cursor, self._upto = world, cursor, upto

    async def batches(self) -> AsyncIterator[Batch]:
        world = self._world
        await asyncio.wait_for(world.harness.listening(), SOON)
        for batch in world.bars:
            number = (batch.ts - world.opened) // MINUTE
            if number < 0 or (self._cursor is not None and batch.ts <= self._cursor):
                continue
            if self._upto is not None and number >= self._upto:
                return
            await world.before(number)
            if number not in world.silent:
                price = batch.bars[0].price
                if number in world.away:
                    price = to_tick(price * Decimal("0.99"), world.harness.price / 10_000)
                await world.harness.trade(price)
            await _pass_calmly(world.calm / 3)
            yield batch
            await _pass_calmly(world.calm)
            await world.after(number)
        await _pass_calmly(world.calm * 2)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SOON):  # what is in doubt, or put off, is settled by the wall clock
                while world.records.working_orders("main"):
                    await asyncio.sleep(0.05)


async def _pass_calmly(time: timedelta) -> None:
    """In pieces: where this process gets its turn late, each takes longer, as what goes on meanwhile does."""
    for _ in range(round(time.total_seconds() / PIECE_SECONDS)):
        await asyncio.sleep(PIECE_SECONDS)


def _walk(harness: BrokerHarness, opened: datetime, minutes: int) -> list[Batch]:
    """A random walk about the venue's price, with all that features look back on before it."""
    moves, tick = random.Random(5), harness.price / 10_000
    price, bars = harness.price, []
    for minute in range(-LOOKBACK, minutes):
        before = price
        drift = (harness.price - price) / harness.price / 50
        price = to_tick(price * (1 + drift + Decimal(moves.gauss(0.0, MOVES))), tick)
        high, low = max(before, price) + tick, min(before, price) - tick
        at = opened + minute * MINUTE
        values = (float(before), float(high), float(low), float(price), 500.0, 250.0)
        bars.append(Batch(at, at + MINUTE, (Bar(harness.instrument, *values),)))
    return bars
