"""Books that the venue does not agree with: nothing is ended there that is not there."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from autotrader.adapters.clocks import SystemWallClock
from autotrader.alerts.sources import raisings
from autotrader.config.settings import Settings
from autotrader.db.events import SqlEventLog
from autotrader.domain.alerts import Severity
from autotrader.domain.errors import BadData
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.orders import Side
from autotrader.domain.trading import Cause, ControlKind, TradingState
from autotrader.ports.events import Event
from autotrader.ports.trading import Control, Page
from autotrader.trading.bars import Batch
from autotrader.trading.reconciliation import Comparison
from autotrader.trading.trader import Trader
from autotrader.trading.unexplained import UNEXPLAINED, remember, unexplained
from tests.trading import BTC, ETH, MINUTE, Scores, World, walk
from tests.unit.trading.account import D, a_state, an_order
from tests.unit.trading.elsewhere import Elsewhere

ALL = Page(limit=10_000)
DOWN = Scores(lambda *_: -0.6)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An account that has bought all that it may, of both."""
    settings = Settings(
        _env_file=None,
        risk={"max_position": 0.5, "max_strategy": 1.0, "risk_per_trade": 1.0},  # type: ignore[arg-type]
        paper={"participation": 1.0},  # type: ignore[arg-type]
    )
    made = World(tmp_path, walk((BTC, ETH), 12), settings=settings, predictor=Scores(lambda *_: 0.6))
    made.run(bars=made.live[:8])
    return made


def held(world: World, instrument: InstrumentId) -> Decimal:
    return world.records.holdings("main").position(instrument).quantity


def asked(world: World, kind: ControlKind) -> None:
    world.records.ask(Control("c1", "main", kind, "alice", "sold by hand", SystemWallClock().now()))


def sold(world: World, before: int) -> dict[InstrumentId, Decimal]:
    """By orders beyond so many."""
    orders = world.records.orders("main", ALL)
    new = orders[: len(orders) - before]
    assert all(order.side is Side.SELL and order.reduces for order in new)
    return {order.instrument: order.quantity for order in new}


def falling(world: World, minutes: int) -> list[Batch]:
    """The last bar again and again, at prices at which the breaker trips."""
    last = world.live[7]
    return [
        Batch(
            last.ts + n * MINUTE,
            last.closed_at + n * MINUTE,
            tuple(
                bar._replace(open=bar.close, low=bar.close * 0.9, close=round(bar.close * 0.9, 2))
                for bar in last.bars
            ),
        )
        for n in range(1, minutes + 1)
    ]


def test_a_reducing_account_sells_nothing_that_somebody_else_has_sold(world: World) -> None:
    """Ours says +1, the venue 0: ending ours would make it -1 there, for real."""
    before = len(world.records.orders("main", ALL))
    gone = held(world, BTC)
    world.wrap = lambda paper: Elsewhere(paper, units={BTC: -gone})
    asked(world, ControlKind.ACKNOWLEDGE)
    world.predictor = DOWN
    states: set[TradingState] = set()

    def watch(trader: Trader) -> None:
        states.add(trader.accounting.state.state)
        assert "does not have the position" in trader.objection(an_order(BTC, Side.SELL, gone, reduces=True))

    world.run(bars=world.live[:12], watch=watch)
    assert states == {TradingState.REDUCING}
    assert set(sold(world, before)) == {ETH}
    refused = world.records.signals("main", Page(instrument=BTC, limit=1))[0].outcome
    assert f"{gone} is held" in refused
    assert "while the venue has 0" in refused


@pytest.mark.parametrize("left", ["0", "2", "-2"])
def test_the_breaker_ends_what_is_there_and_tells_of_the_rest(world: World, left: str) -> None:
    before, ours, there = len(world.records.orders("main", ALL)), held(world, BTC), Decimal(left)
    world.wrap = lambda paper: Elsewhere(paper, units={BTC: there - ours})
    world.run(bars=falling(world, 1))
    state = world.records.state("main")
    assert state is not None
    assert {r.cause for r in state.restrictions} >= {Cause.RECONCILIATION, Cause.DAILY_LOSS}
    expected = {ETH: held(world, ETH)} | ({BTC: there} if there > 0 else {})
    assert sold(world, before) == expected
    told = [e for e in _events(world) if "leaves" in e.message]
    assert [(e.severity, e.instrument) for e in told] == [("critical", str(BTC))]
    assert f"leaves {ours - max(there, Decimal(0))} of {BTC} open" in told[0].message


def test_what_stays_open_is_told_once(world: World) -> None:
    gone = held(world, BTC)
    world.wrap = lambda paper: Elsewhere(paper, units={BTC: -gone})
    world.run(bars=falling(world, 4))
    world.run(bars=falling(world, 6))
    (told,) = [e for e in _events(world) if "leaves" in e.message]
    (raised,) = raisings(told)
    assert (raised.name, raised.severity) == ("PositionMismatch", Severity.CRITICAL)


def _events(world: World) -> list[Event]:
    return list(SqlEventLog(world.records._engine).recent(limit=10_000))  # type: ignore[attr-defined]


def test_what_was_found_is_known_until_a_comparison_is_sure_of_something_else() -> None:
    state = remember(a_state(), Comparison(unexplained={BTC: D("-0.5")}))
    assert unexplained(state) == {BTC: D("-0.5")}
    unsure = remember(state, Comparison(unsure=("an order in flight",), unexplained={ETH: D(1)}))
    assert unexplained(unsure) == {BTC: D("-0.5"), ETH: D(1)}
    assert remember(unsure, Comparison()) == a_state()


def test_what_cannot_be_read_is_not_taken_for_nothing() -> None:
    for known in ("BTC", {"BTC": "1"}, {str(BTC): "much"}):
        with pytest.raises(BadData, match="unexplained units"):
            unexplained(replace(a_state(), memory={UNEXPLAINED: known}))
