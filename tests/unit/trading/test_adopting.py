"""A person takes over the venue's state: a deposit, or a position that somebody else made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from autotrader.adapters.clocks import SystemWallClock
from autotrader.adapters.paper_broker import PaperBroker
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.trading import Cause, ControlKind, TradingState
from autotrader.ports.broker import VenueAccount
from autotrader.ports.events import EventType
from autotrader.ports.trading import Control, Page
from tests.trading import BTC, World, walk


class Elsewhere:
    """The paper venue, with what somebody else put into the account."""

    def __init__(
        self, paper: PaperBroker, cash: str = "0", units: Mapping[InstrumentId, Decimal] | None = None
    ) -> None:
        self._paper = paper
        self._cash = Decimal(cash)
        self._units = dict(units or {})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._paper, name)

    async def account(self, instruments: Sequence[InstrumentId]) -> VenueAccount:
        told = await self._paper.account(instruments)
        positions = dict(told.positions)
        for instrument, units in self._units.items():
            positions[instrument] = positions.get(instrument, Decimal(0)) + units
        return replace(told, cash={"USDT": told.cash["USDT"] + self._cash}, positions=positions)


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
