"""What goes on beside bars, and how a trader ends."""

from __future__ import annotations

import asyncio
import functools
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from autotrader.adapters.clocks import SystemWallClock
from autotrader.adapters.paper_broker import PaperBroker
from autotrader.apps.trader import assembly
from autotrader.config.settings import Settings
from autotrader.domain.errors import BadData, Unreachable
from autotrader.domain.orders import Order, OrderStatus
from autotrader.domain.trading import Cause, ControlKind, RunStatus, TradingState
from autotrader.ports.broker import Broker, Update, VenueOrder
from autotrader.ports.trading import AccountState, Change, Control, Lease, Page, TradingRecords
from autotrader.trading import session
from autotrader.trading.bars import Batch
from autotrader.trading.broker_calls import BrokerCalls
from autotrader.trading.trader import Trader
from tests.fakes.clocks import SettableClock
from tests.fakes.misbehaving_broker import Fault, MisbehavingBroker, Script
from tests.trading import BTC, ETH, MINUTE, START, Scores, World, walk

ALL = Page(limit=10_000)


def up(folder: Path, minutes: int = 12, **options: Any) -> World:
    """A world of a strategy that wants to buy at once, in which an order is filled within a bar."""
    settings = Settings(_env_file=None, paper={"participation": 1.0})  # type: ignore[arg-type]
    return World(
        folder, walk((BTC, ETH), minutes), settings=settings, predictor=Scores(lambda *_: 0.6), **options
    )


def state_of(world: World) -> AccountState:
    state = world.records.state("main")
    assert state is not None
    return state


def ask(world: World, kind: ControlKind, id: str = "c1") -> None:
    world.records.ask(Control(id, "main", kind, "ada", "a test asks", world.clock.now()))


def answer(world: World, id: str = "c1") -> str:
    control = world.records.control(id)
    assert control is not None
    return control.answer


# The end


def test_an_end_in_order_takes_back_what_works_and_gives_the_lease_back(tmp_path: Path) -> None:
    world = up(tmp_path)
    world.run(bars=world.live[:1])
    assert [o.status for o in world.records.orders("main", ALL)] == [OrderStatus.CANCELLED] * 2
    assert state_of(world).status is RunStatus.STOPPED
    assert world.records.acquire("main", "next", now=world.clock.now(), seconds=15) is not None


def test_after_the_order_to_stop_nothing_is_sent(tmp_path: Path) -> None:
    world = up(tmp_path)

    def stopping(_: str, __: object) -> float:
        world.session.stop()  # while the step asks for predictions
        return 0.6

    world.predictor = Scores(stopping)
    world.run(bars=world.live[:5])
    orders = world.records.orders("main", ALL)
    assert orders
    assert {o.status for o in orders} == {OrderStatus.EXPIRED}
    assert asyncio.run(world.paper().open_orders()) == []
    assert len(world.records.equity("main", ALL)) == 1


class Deaf(MisbehavingBroker):
    """A venue that does not answer cancellations."""

    async def cancel(self, order: Order) -> VenueOrder | None:
        await asyncio.sleep(3600)
        raise AssertionError


def test_an_end_takes_ten_seconds_at_most_though_the_venue_does_not_answer(tmp_path: Path) -> None:
    world = up(tmp_path, wrap=lambda paper: Deaf(paper, lambda *_: None))
    looked: list[float] = []  # the last time is when the bars have ended
    world.run(bars=world.live[:1], watch=lambda _: looked.append(time.monotonic()))
    assert time.monotonic() - looked[-1] < 10
    assert state_of(world).status is RunStatus.STOPPED
    assert {o.status for o in world.records.working_orders("main")} == {OrderStatus.OPEN}


class Hanging(MisbehavingBroker):
    """A venue that hangs from the call on in which the trader is told to stop."""

    stop: Callable[[], None]
    stops_in = ""
    stops_at = 1  # the so many-th of these calls

    def __init__(self, broker: Broker, script: Script) -> None:
        super().__init__(broker, script)
        self.asked: list[str] = []  # since then
        self._hangs = False
        for name in ("account", "open_orders", "order", "fills", "submit", "cancel", "keep_alive"):
            setattr(self, name, functools.partial(self._asked, name, getattr(self, name)))

    async def _asked(self, name: str, call: Callable[..., Awaitable[Any]], *about: Any) -> Any:
        if self._hangs:
            self.asked.append(name)
        elif name == self.stops_in:
            self.stops_at -= 1
            if not self.stops_at:
                self._hangs = True
                self.stop()
        if self._hangs:
            await asyncio.Event().wait()
        return await call(*about)


def stopped_in(
    world: World, monkeypatch: pytest.MonkeyPatch, call: str, number: int, *, seconds: float, script: Script
) -> Hanging:
    """The venue, after a trader that was told to stop in that call has come to its end."""
    monkeypatch.setattr(assembly, "BrokerCalls", lambda: BrokerCalls(seconds=seconds))
    monkeypatch.setattr(session, "_END_SECONDS", 0.05)
    venues: list[Hanging] = []

    def wrap(paper: PaperBroker) -> Hanging:
        venue = Hanging(paper, script)
        venue.stops_in, venue.stops_at = call, number
        venue.stop = lambda: world.session.stop()
        venues.append(venue)
        return venue

    def pass_time(_: Trader) -> None:
        assert isinstance(world.clock, SettableClock)
        world.clock.advance(timedelta(seconds=70))  # all that is done by the wall clock is due

    world.wrap = wrap
    asyncio.run(asyncio.wait_for(world.trade(watch=pass_time), 30))
    assert state_of(world).status is RunStatus.STOPPED
    assert world.records.acquire("main", "next", now=world.clock.now(), seconds=15) is not None
    return venues[0]


def test_who_is_told_to_stop_asks_a_venue_that_hangs_for_nothing_but_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = up(tmp_path, clock=SettableClock(SystemWallClock().now()))

    def lose(name: str, _: str) -> Fault | None:
        return Fault.NEVER_ARRIVED if name == "submit" else None

    venue = stopped_in(world, monkeypatch, "order", 1, seconds=0.01, script=lose)
    assert {o.status for o in world.records.working_orders("main")} == {OrderStatus.SENT}
    assert venue.asked == ["order"] * 2, "of both orders, once, to take them back"


@pytest.mark.parametrize("number", [1, 3], ids=["at the start", "while it trades"])
def test_the_end_waits_for_no_reconciliation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    world = up(tmp_path, clock=SettableClock(SystemWallClock().now()))
    world.predictor = Scores(lambda *_: 0.0)
    venue = stopped_in(world, monkeypatch, "fills", number, seconds=3600, script=lambda *_: None)
    assert venue.asked == []


class Silenced(MisbehavingBroker):
    """A venue whose updates end in an error that reconnecting does not mend."""

    async def updates(self) -> AsyncIterator[Update]:
        raise Unreachable("the listen key was refused")
        yield


def test_who_does_not_hear_the_venue_any_more_stops_trading(tmp_path: Path) -> None:
    world = up(tmp_path, wrap=lambda paper: Silenced(paper, lambda *_: None))
    with pytest.raises(Unreachable, match="listen key"):
        world.run(bars=world.live)
    assert world.records.orders("main", ALL) == []


@pytest.mark.parametrize("replayed", [True, False])
def test_what_the_venue_tells_between_bars_is_dealt_with_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, replayed: bool
) -> None:
    monkeypatch.setattr(session, "TICK_SECONDS", 60.0)
    venues: list[PaperBroker] = []
    traders: list[Trader] = []
    kept: list[int] = []

    class Ahead:
        """A bar, and then what it brought about at the venue, with no other bar."""

        async def batches(self) -> AsyncIterator[Batch]:
            yield world.live[0]
            await venues[0].take(world.live[1])
            while not traders[0].book.quantity(BTC):
                await asyncio.sleep(0.01)
            kept.append(len(world.records.fills("main", ALL)))

    def heard(paper: PaperBroker) -> PaperBroker:
        venues.append(paper)
        return paper

    world = up(tmp_path, wrap=heard, replayed=replayed)
    asyncio.run(asyncio.wait_for(world.trade(feed=Ahead(), watch=traders.append), 30))
    assert kept == [0 if replayed else 2], "live it is on the disk at once; a replay hears it again"
    assert len(world.records.fills("main", ALL)) == 2


def test_no_garbage_is_looked_for_while_orders_wait(tmp_path: Path) -> None:
    collected: list[bool] = []

    def asked(_: str, __: object) -> float:
        collected.append(gc.isenabled())
        return 0.6

    world = up(tmp_path)
    world.predictor = Scores(asked)
    world.run(bars=world.live[:3])
    assert set(collected) == {False}
    assert gc.isenabled()


# Requests


def test_a_halt_cancels_what_works_and_a_resume_lets_it_trade(tmp_path: Path) -> None:
    world = up(tmp_path, clock=SettableClock(World(tmp_path, []).clock.now()))
    asked: list[str] = []

    def pass_time(batch: Batch) -> None:
        assert isinstance(world.clock, SettableClock)
        world.clock.advance(timedelta(seconds=2))
        if batch.ts == START + MINUTE * 4:
            asked.append("halt")
            ask(world, ControlKind.HALT)

    world.run(bars=world.live[:8], before_each=pass_time)
    assert answer(world) == "account is HALTED"
    assert state_of(world).restrictions[0].cause is Cause.OPERATOR
    before = len(world.records.orders("main", ALL))
    world.predictor = Scores(lambda *_: -0.6)
    world.run(bars=world.live[8:10], before_each=pass_time)
    assert len(world.records.orders("main", ALL)) == before
    ask(world, ControlKind.RESUME, "c2")
    world.run(bars=world.live[10:], before_each=pass_time)
    assert state_of(world).state is TradingState.ACTIVE
    assert asked == ["halt"]


def test_an_order_in_doubt_is_not_sent_again_by_a_halted_account(tmp_path: Path) -> None:
    world = up(tmp_path)
    sent: list[str] = []

    def lose_all(call: str, _: str) -> Fault | None:
        return Fault.NEVER_ARRIVED if call == "submit" else None

    async def note(order: Order) -> None:
        sent.append(order.client_order_id)

    world.wrap = lambda paper: MisbehavingBroker(paper, lose_all)

    def die(_: Trader) -> None:
        if world.records.orders("main", ALL):
            raise KeyError("gone")

    with pytest.raises(KeyError):
        world.run(bars=world.live[:3], watch=die)
    assert {o.status for o in world.records.working_orders("main")} == {OrderStatus.RECORDED}
    ask(world, ControlKind.HALT)
    world.wrap = lambda paper: MisbehavingBroker(paper, lambda *_: None, on_submit=note)
    world.owner, world.has_ended = (lambda: "second"), (lambda _: True)
    world.run(bars=world.live[1:3])
    assert {o.status for o in world.records.orders("main", ALL)} == {OrderStatus.EXPIRED}
    assert sent == []


def test_a_request_that_fails_is_answered_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(*_: object) -> str:
        raise BadData("expected a price to adopt it at, was none")

    monkeypatch.setattr("autotrader.trading.recovery.Reconciliation.adopt", failing)
    world = up(tmp_path)
    ask(world, ControlKind.ADOPT)
    world.run(bars=world.live[:2])
    assert answer(world).startswith("failed: expected a price")
    assert state_of(world).status is RunStatus.STOPPED


def test_a_disabled_strategy_opens_nothing(tmp_path: Path) -> None:
    world = up(tmp_path)
    strategy = world.settings.strategy.strategy_id
    world.records.enable_strategy(strategy, False, actor="ada", reason="a test", at=world.clock.now())
    world.run(bars=world.live[:5])
    assert world.records.orders("main", ALL) == []
    assert state_of(world).restrictions[0].cause is Cause.STRATEGY
    world.records.enable_strategy(strategy, True, actor="ada", reason="a test", at=world.clock.now())
    world.run(bars=world.live[5:])
    assert state_of(world).state is TradingState.ACTIVE


# What is away


class Market:
    """Time at the market: so long after the bars' own."""

    is_replay = False

    def __init__(self) -> None:
        self.time = START

    def now(self) -> Any:
        return self.time


@pytest.mark.parametrize(("seconds", "sends"), [(3, True), (59, True), (61, False), (10_000, False)])
def test_bars_that_come_too_late_are_dealt_with_and_not_traded_on(
    tmp_path: Path, seconds: int, sends: bool
) -> None:
    market = Market()
    world = up(tmp_path, market_clock=market)

    def come(batch: Batch) -> None:
        market.time = batch.closed_at + timedelta(seconds=seconds)

    world.run(bars=world.live[:3], before_each=come)
    assert bool(world.records.orders("main", ALL)) is sends
    assert len(world.records.equity("main", ALL)) == 3


def test_an_order_recorded_before_a_long_absence_is_not_sent_after_it(tmp_path: Path) -> None:
    """A crash between recording and sending, and a start hours later: its price is of another time."""
    market = Market()
    world = up(tmp_path, market_clock=market)
    crash = _Crashing(world.records)
    world.records = crash  # type: ignore[assignment]

    def come(batch: Batch) -> None:
        market.time = batch.closed_at

    with pytest.raises(KeyError):
        world.run(bars=world.live[:1], before_each=come)
    world.records = crash.records
    assert {o.status for o in world.records.working_orders("main")} == {OrderStatus.RECORDED}
    market.time += timedelta(hours=3)
    world.owner, world.has_ended = (lambda: "second"), (lambda _: True)
    world.run(bars=[world.live[0]])
    assert {o.status for o in world.records.orders("main", ALL)} == {OrderStatus.EXPIRED}
    assert asyncio.run(world.paper().open_orders()) == []
    assert len(world.records.dead_letters("main", ALL)) == 2


class _Crashing:
    """The process ends once the first order is recorded."""

    def __init__(self, records: TradingRecords) -> None:
        self.records = records

    def write(self, lease: Lease, change: Change) -> None:
        self.records.write(lease, change)
        if change.orders:
            raise KeyError("gone")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.records, name)


def test_without_a_database_nothing_is_sent_and_nothing_is_lost(tmp_path: Path) -> None:
    world = up(tmp_path)
    away = _Away(world.records)
    world.records = away  # type: ignore[assignment]

    def come(batch: Batch) -> None:
        away.is_away = START + MINUTE <= batch.ts < START + 4 * MINUTE

    world.predictor = Scores(lambda _, ts: 0.6 if ts >= START + MINUTE else 0.0)
    world.run(bars=world.live[:8], before_each=come)
    world.records = away.records
    points = [point.at for point in world.records.equity("main", ALL)]
    assert len(points) == 8
    orders = {o.decided_at: o.status for o in world.records.orders("main", ALL)}
    for minute in (2, 3, 4):
        assert orders.get(START + minute * MINUTE, OrderStatus.EXPIRED) is OrderStatus.EXPIRED
    assert OrderStatus.FILLED in orders.values()


def test_a_database_that_is_away_is_not_waited_for_at_each_word_of_the_venue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "TICK_SECONDS", 60.0)
    venues: list[PaperBroker] = []
    traders: list[Trader] = []
    held: list[Decimal] = []

    class Ahead:
        """A bar, and then fills, one part of the order after the other, while the database is away."""

        async def batches(self) -> AsyncIterator[Batch]:
            yield world.live[0]
            away.is_away = True
            for batch in world.live[1:5]:
                before = traders[0].book.quantity(BTC)
                await venues[0].take(batch)
                while (found := traders[0].book.quantity(BTC)) == before:
                    await asyncio.sleep(0.01)
                held.append(found)
            away.is_away = False

    def heard(paper: PaperBroker) -> PaperBroker:
        venues.append(paper)
        return paper

    little = Settings(_env_file=None, paper={"participation": 0.001})  # type: ignore[arg-type]
    predictor = Scores(lambda *_: 0.6)
    bars = walk((BTC, ETH), 12)
    world = World(tmp_path, bars, settings=little, predictor=predictor, wrap=heard, replayed=False)
    away = _Away(world.records)
    world.records = away  # type: ignore[assignment]
    asyncio.run(asyncio.wait_for(world.trade(feed=Ahead(), watch=traders.append), 30))
    assert len(set(held)) == 4
    assert away.refused == 1
    assert sum(f.quantity for f in away.records.fills("main", ALL) if f.instrument == BTC) == held[-1]


class _Away(_Crashing):
    is_away = False
    refused = 0

    def write(self, lease: Lease, change: Change) -> None:
        if self.is_away:
            self.refused += 1
            raise Unreachable("no database")
        self.records.write(lease, change)
