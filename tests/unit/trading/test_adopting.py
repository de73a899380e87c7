"""A person takes over the venue's state: a deposit, or a position that somebody else made."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from autotrader.adapters.clocks import SystemWallClock
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.domain.orders import OrderStatus, Side
from autotrader.domain.trading import Cause, ControlKind, TradingState
from autotrader.ports.broker import VenueOrder
from autotrader.ports.events import EventType
from autotrader.ports.trading import Control, Page
from tests.trading import BTC, World, walk
from tests.unit.trading.elsewhere import Elsewhere


def asked(world: World, kind: ControlKind, name: str = "c1") -> None:
    world.records.ask(Control(name, "main", kind, "alice", "a deposit of 5,000", SystemWallClock().now()))


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, walk((BTC,), 40), instruments=(BTC,))
    made.run(bars=made.live[:10])
    return made


def test_a_deposit_halts_until_it_is_adopted_and_is_no_profit(world: World) -> None:
    before = world.records.state("main")
    world.wrap = lambda paper: Elsewhere(paper, "5000")
    world.run(bars=world.live[:15])
    halted = world.records.state("main")
    assert before is not None
    assert halted is not None
    assert halted.state is TradingState.HALTED
    assert halted.cash == before.cash, "nothing is adopted silently"

    asked(world, ControlKind.ADOPT)
    world.run(bars=world.live[:16])
    after = world.records.state("main")
    assert after is not None
    assert (after.state, after.restrictions) == (TradingState.ACTIVE, ())
    assert after.cash["USDT"] == before.cash["USDT"] + 5_000
    assert after.initial_equity == before.initial_equity + 5_000
    assert after.peak_equity >= before.peak_equity + 5_000
    pnl_before, pnl_after = before.equity - before.initial_equity, after.equity - after.initial_equity
    held = world.records.holdings("main").position(BTC).quantity
    moved = held * (world.live[15].bars[0].price - world.live[9].bars[0].price)
    assert pnl_after == pnl_before + moved
    control = world.records.control("c1")
    assert control is not None
    assert control.answer == "adopted 1 differences worth +5,000.00"
    events = SqlEventLog(open_database(f"sqlite:///{world.folder}/autotrader.db"))
    (event,) = [e for e in events.recent(type=EventType.AUDIT) if e.key == "adopt-c1"]
    assert (event.actor, event.data["change"]) == ("alice", "5000")


def test_an_adopted_position_is_held_until_the_strategy_has_an_opinion(world: World) -> None:
    held = world.records.holdings("main").position(BTC).quantity
    lot = Decimal("0.01")
    world.wrap = lambda paper: Elsewhere(paper, units={BTC: lot * 300})
    asked(world, ControlKind.ADOPT)
    world.run(bars=world.live[:11])
    found = world.records.holdings("main").position(BTC).quantity
    assert found == held + lot * 300
    fills = world.records.fills("main", Page(limit=1_000))
    assert [fill.fill_id for fill in fills if fill.fill_id.startswith("adopted")] == ["adopted-c1"]
    state = world.records.state("main")
    assert state is not None
    assert Cause.RECONCILIATION not in {r.cause for r in state.restrictions}


def test_where_both_agree_there_is_nothing_to_adopt(world: World) -> None:
    asked(world, ControlKind.ADOPT)
    world.run(bars=world.live[:11])
    control = world.records.control("c1")
    assert control is not None
    assert control.answer == "nothing to adopt: the venue and we agree"


def answer(world: World, name: str = "c1") -> str:
    control = world.records.control(name)
    assert control is not None
    return control.answer


def test_a_currency_that_nothing_tells_the_worth_of_is_left_out_and_named(world: World) -> None:
    """A person buys XRP with the account's USDT: taken over, it would have no price at any bar."""
    before = world.records.state("main")
    assert before is not None
    world.wrap = lambda paper: Elsewhere(paper, "-500", others={"XRP": Decimal("900.5")})
    asked(world, ControlKind.ADOPT)
    world.run(bars=world.live[:12])
    assert answer(world) == (
        "adopted 1 differences worth -500.00; left out, since no instrument here tells its worth: 900.5 XRP"
    )
    events = SqlEventLog(open_database(f"sqlite:///{world.folder}/autotrader.db"))
    (event,) = [e for e in events.recent(type=EventType.AUDIT) if e.key == "adopt-c1"]
    assert event.data["left_out"] == "900.5 XRP"
    world.run(bars=world.live[:14])
    after = world.records.state("main")
    assert after is not None
    assert (after.cursor, set(after.cash)) == (world.live[13].ts, {"USDT"})
    assert after.initial_equity == before.initial_equity - 500


def test_an_account_begins_without_currencies_that_nothing_tells_the_worth_of(tmp_path: Path) -> None:
    world = World(tmp_path, walk((BTC,), 4), instruments=(BTC,))
    world.wrap = lambda paper: Elsewhere(paper, others={"XRP": Decimal("900.5")})
    made = world.run(bars=world.live[:4])
    assert made.why.startswith("first start of the account; left out")
    state = world.records.state("main")
    assert state is not None
    assert (set(state.cash), state.initial_equity) == ({"USDT"}, Decimal(100_000))
    (recovery,) = world.records.recoveries("main", Page())
    assert "900.5 XRP" in recovery.reason


def test_nothing_is_adopted_while_an_order_of_somebody_else_works(world: World) -> None:
    held = world.records.holdings("main").position(BTC).quantity
    resting = VenueOrder("v9", None, BTC, Side.BUY, Decimal(3), Decimal(0), OrderStatus.OPEN)
    world.wrap = lambda paper: Elsewhere(paper, units={BTC: Decimal(2)}, orders=(resting,))
    asked(world, ControlKind.ADOPT)
    world.run(bars=world.live[:11])
    assert answer(world).startswith("refused: expected none but our orders to work, was venue order v9")
    assert answer(world).endswith("cancel at the venue first")
    assert world.records.holdings("main").position(BTC).quantity == held

    # Once it is gone there, one more request is enough.
    world.wrap = lambda paper: Elsewhere(paper, units={BTC: Decimal(2)})
    asked(world, ControlKind.ADOPT, "c2")
    world.run(bars=world.live[:12])
    assert world.records.holdings("main").position(BTC).quantity == held + 2
    state = world.records.state("main")
    assert state is not None
    assert (state.state, answer(world, "c2")[:21]) == (TradingState.ACTIVE, "adopted 1 differences")
