"""What has happened to others, and does not happen here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from autotrader.adapters.paper_broker import PaperBroker
from autotrader.config.settings import Settings
from autotrader.db.events import SqlEventLog
from autotrader.domain.errors import Unreachable
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.orders import Order, OrderStatus, Side
from autotrader.domain.trading import RecoveryKind, TradingState
from autotrader.ports.broker import Broker, VenueAccount
from autotrader.ports.trading import Page, TradingRecords
from autotrader.trading.bars import Batch
from autotrader.trading.trader import Trader
from tests.fakes.clocks import SettableClock
from tests.fakes.misbehaving_broker import MisbehavingBroker
from tests.trading import BTC, ETH, MINUTE, Scores, World, turning, walk
from tests.unit.trading.account import an_order

ALL = Page(limit=10_000)
UP, SILENT = Scores(lambda *_: 0.6), Scores(lambda *_: 0.0)


def in_one_bar(folder: Path, minutes: int, **options: object) -> World:
    """A world in which an order is filled within a bar."""
    settings = Settings(_env_file=None, paper={"participation": 1.0}, trading={"reconcile_seconds": 10})  # type: ignore[arg-type]
    return World(folder, walk((BTC, ETH), minutes), settings=settings, predictor=UP, **options)  # type: ignore[arg-type]


def held(world: World) -> Mapping[InstrumentId, Decimal]:
    return {i: p.quantity for i, p in world.records.holdings("main").positions.items() if p.quantity}


def test_a_warm_restart_keeps_the_position(tmp_path: Path) -> None:
    """Bots have come back with an empty memory of what they wanted, compared it with what they held,
    and sold everything at the market within a minute of their start.
    """
    world = in_one_bar(tmp_path, 12)
    world.run(bars=world.live[:4])
    before, orders = held(world), len(world.records.orders("main", ALL))
    assert set(before) == {BTC, ETH}
    world.predictor = SILENT
    for n in range(4, 10):
        world.run(bars=world.live[n : n + 1])
    assert held(world) == before
    assert len(world.records.orders("main", ALL)) == orders


def test_an_old_order_that_still_works_brings_no_fill_in_twice(tmp_path: Path) -> None:
    """Fills were asked for from the oldest order on, and looked for among those of the last hours only:
    after a restart, all that lay in between was bought again in the books.
    """
    world = in_one_bar(tmp_path, 320)
    world.predictor = Scores(turning)
    world.run(bars=world.live[:300])
    before = world.records.holdings("main")
    fills = world.records.fills("main", ALL)
    newest = max(fill.at for fill in fills)
    old = newest - timedelta(hours=4)
    assert sum(fill.at < newest - timedelta(hours=2) for fill in fills) > 2
    world.records = WithOrder(world.records, an_order(BTC, id="atold", at=old, limit="1"))  # type: ignore[assignment]
    world.predictor = SILENT
    made = world.run(bars=world.live[300:301])
    assert made.trader.book.find("atold") is not None
    assert world.records.holdings("main").positions == before.positions
    assert len(world.records.fills("main", ALL)) == len(fills)
    assert {r.adopted_fills for r in world.records.recoveries("main", ALL)} == {0}


class WithOrder:
    """Records in which one more order works."""

    def __init__(self, records: TradingRecords, order: Order) -> None:
        self._records = records
        self._order = order.moved(OrderStatus.OPEN, venue_order_id="old")

    def working_orders(self, account: str) -> Sequence[Order]:
        return [self._order, *self._records.working_orders(account)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)


def test_a_restart_without_predictions_keeps_the_position(tmp_path: Path) -> None:
    """The same, of a bot whose model server was still starting: no answer was taken for a target of zero."""
    world = in_one_bar(tmp_path, 12)
    world.run(bars=world.live[:4])
    before = held(world)
    world.predictor = Scores(lambda *_: 0.6)
    world.predictor.fails = Unreachable("starting")
    world.run(bars=world.live[4:10])
    assert held(world) == before


class Differing(MisbehavingBroker):
    """A venue that has more in the account than we have bought."""

    extra = Decimal("0.5")

    async def account(self, instruments: Sequence[InstrumentId]) -> VenueAccount:
        account = await super().account(instruments)
        more = {**account.positions, BTC: account.positions.get(BTC, Decimal(0)) + self.extra}
        return replace(account, positions=more)


def test_a_difference_that_stays_is_told_once(tmp_path: Path) -> None:
    """Reconciliation loops have reported the same difference at every look, traded it away, found it
    again, and filled disks and accounts by it.
    """
    clock = SettableClock(World(tmp_path, []).clock.now())

    def passing(_: Batch) -> None:
        clock.advance(11 * MINUTE / 60)

    def wrapped(paper: PaperBroker) -> Broker:
        return Differing(paper, lambda *_: None)

    world = in_one_bar(tmp_path, 120, clock=clock, wrap=wrapped)
    states: list[TradingState] = []
    world.predictor = SILENT

    def watch(trader: Trader) -> None:
        states.append(trader.accounting.state.state)

    world.run(bars=world.live[:20], before_each=passing, watch=watch)
    after_a_few = _told(world)
    world.run(bars=world.live[20:120], before_each=passing, watch=watch)
    later = _told(world)
    # What the second start tells of itself, and nothing for a hundred looks at the same difference.
    assert sum((later - after_a_few).values()) <= 3
    assert set(states) == {TradingState.REDUCING}
    assert world.records.orders("main", ALL) == []
    assert len(world.records.recoveries("main", ALL)) == 2


def _told(world: World) -> Counter[str]:
    events = SqlEventLog(world.records._engine).recent(limit=10_000)  # type: ignore[attr-defined]
    return Counter(event.type.value for event in events if "checkpoint" not in event.key)


def test_an_order_that_works_at_the_start_is_known_and_looked_after(tmp_path: Path) -> None:
    """Traders have begun with an empty list of orders: what still worked at the venue was filled later
    beside a second order for the same wish, and the position was twice what was wanted.
    """
    world = in_one_bar(tmp_path, 12)
    bars = world.live
    with pytest.raises(_Killed):
        world.run(bars=bars[:2], watch=_crash_after(bars[0].ts))
    working = world.records.working_orders("main")
    assert {(order.instrument, order.status, order.side) for order in working} == {
        (i, OrderStatus.OPEN, Side.BUY) for i in (BTC, ETH)
    }
    seen: list[set[str]] = []

    def watch(trader: Trader) -> None:
        seen.append(set(trader.book.working))

    world.owner, world.has_ended = (lambda: "second"), (lambda _: True)
    # Nothing is traded in the next bar: they work on, and are not what is wanted at its price any more.
    dry = tuple(bar._replace(volume=0.0, taker_buy=0.0) for bar in bars[1].bars)
    made = world.run(bars=[replace(bars[1], bars=dry), *bars[2:6]], watch=watch)
    assert made.start is RecoveryKind.CRASH
    assert seen[0] == {order.client_order_id for order in working}
    ended = [world.records.order(order.client_order_id) for order in working]
    assert [order and order.status for order in ended] == [OrderStatus.CANCELLED] * len(working)
    equity = world.records.state("main").equity  # type: ignore[union-attr]
    for instrument, quantity in held(world).items():
        price = next(bar.price for bar in bars[5].bars if bar.instrument == instrument)
        assert quantity * price < equity * Decimal("0.21")


class _Killed(BaseException):
    pass


def _crash_after(ts: datetime) -> Callable[[Trader], None]:
    def watch(trader: Trader) -> None:
        if trader.accounting.state.cursor == ts:
            trader.write()
            raise _Killed

    return watch
