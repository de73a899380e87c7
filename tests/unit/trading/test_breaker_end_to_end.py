"""The circuit breaker from a falling price to a flat account, over restarts, until a person resumes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from autotrader.adapters.paper_broker import PaperBroker
from autotrader.config.settings import Settings
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.orders import Order, OrderType, Side
from autotrader.domain.trading import Cause, ControlKind, TradingState
from autotrader.ports.broker import Broker
from autotrader.ports.trading import AccountState, Control, Page
from autotrader.trading.bars import Batch
from autotrader.trading.trader import Trader
from tests.fakes.misbehaving_broker import MisbehavingBroker
from tests.trading import BTC, ETH, MINUTE, Scores, World, walk

ALL = Page(limit=10_000)
BUYING = 12  # bars in which both positions are bought
# Beside the limit that is tried: the other one is out of reach.
OTHERS = {Cause.DAILY_LOSS: {"max_drawdown": 0.9}, Cause.DRAWDOWN: {"max_daily_loss": 0.9}}
LOSSES = [(Cause.DAILY_LOSS, Decimal("0.0501")), (Cause.DRAWDOWN, Decimal("0.1501"))]


def all_in(folder: Path, cause: Cause) -> World:
    """An account that has bought all that it may."""
    world = World(
        folder,
        walk((BTC, ETH), BUYING),
        settings=Settings(
            _env_file=None,
            risk={"max_position": 0.5, "max_strategy": 1.0, "risk_per_trade": 1.0, **OTHERS[cause]},  # type: ignore[arg-type]
            paper={"participation": 1.0},  # type: ignore[arg-type]
        ),
        predictor=Scores(lambda *_: 0.6),
    )
    world.run()
    return world


def state_of(world: World) -> AccountState:
    state = world.records.state("main")
    assert state is not None
    return state


def at_venue(world: World) -> dict[InstrumentId, Decimal]:
    return dict(asyncio.run(world.paper().account((BTC, ETH))).positions)


def falling(world: World, cause: Cause, loss: Decimal, minutes: int) -> list[Batch]:
    """A bar at whose close the account has lost this share of what the limit is of, and quiet ones."""
    state, held = state_of(world), world.records.holdings("main").positions
    last = world.bars[-1]
    worth = sum(held[bar.instrument].quantity * bar.price for bar in last.bars)
    base = state.day_start_equity if cause is Cause.DAILY_LOSS else state.peak_equity
    share = float((base * (1 - loss) - (state.equity - worth)) / worth)
    low = {bar.instrument: round(bar.close * share, 4) for bar in last.bars}
    batches = []
    for n in range(1, minutes + 1):
        bars = tuple(
            bar._replace(
                open=bar.close if n == 1 else low[bar.instrument],
                low=low[bar.instrument],
                close=low[bar.instrument],
            )
            for bar in last.bars
        )
        batches.append(Batch(last.ts + n * MINUTE, last.closed_at + n * MINUTE, bars))
    return batches


@pytest.mark.parametrize(("cause", "loss"), LOSSES)
def test_a_loss_beyond_the_limit_flattens_and_halts_within_one_bar(
    tmp_path: Path, cause: Cause, loss: Decimal
) -> None:
    world = all_in(tmp_path, cause)
    assert set(at_venue(world)) == {BTC, ETH}
    states: list[tuple[TradingState, bool]] = []

    def watch(trader: Trader) -> None:
        states.append((trader.accounting.state.state, any(trader.book.quantity(i) for i in (BTC, ETH))))

    bars = falling(world, cause, loss, 2)
    world.run(bars=bars, watch=watch)
    # One bar trips it, the next one's open fills the orders that end the positions.
    assert (TradingState.HALTED, True) in states
    assert states[-1] == (TradingState.HALTED, False)
    assert at_venue(world) == {}
    orders = [o for o in world.records.orders("main", ALL) if o.decided_at == bars[0].closed_at]
    assert {(o.instrument, o.type, o.side, o.reduces) for o in orders} == {
        (i, OrderType.MARKET, Side.SELL, True) for i in (BTC, ETH)
    }
    (restriction,) = state_of(world).restrictions
    assert (restriction.cause, restriction.state) == (cause, TradingState.HALTED)
    assert f"{loss:.2%}"[:-1] in restriction.reason


@pytest.mark.parametrize(("cause", "loss"), LOSSES)
def test_a_loss_within_the_limit_does_not(tmp_path: Path, cause: Cause, loss: Decimal) -> None:
    world = all_in(tmp_path, cause)
    world.run(bars=falling(world, cause, loss - Decimal("0.0002"), 1))
    assert state_of(world).state is TradingState.ACTIVE
    assert set(at_venue(world)) == {BTC, ETH}


def test_what_works_is_cancelled_before_the_account_is_flattened(tmp_path: Path) -> None:
    world = all_in(tmp_path, Cause.DAILY_LOSS)
    asked: list[str] = []

    class Watched(MisbehavingBroker):
        async def submit(self, order: Order) -> object:  # type: ignore[override]
            asked.append(f"submit {order.side}")
            return await super().submit(order)

        async def cancel(self, order: Order) -> object:  # type: ignore[override]
            asked.append("cancel")
            return await super().cancel(order)

    def wrapped(paper: PaperBroker) -> Broker:
        return Watched(paper, lambda *_: None)  # type: ignore[return-value]

    bars = falling(world, Cause.DAILY_LOSS, Decimal("0.0501"), 2)
    # The strategy turns to the other side a bar before: its order finds no volume, and works.
    last = world.bars[-1]
    still = Batch(bars[0].ts, bars[0].closed_at, last.bars)
    dry = [replace(b, ts=b.ts + MINUTE, closed_at=b.closed_at + MINUTE) for b in bars]
    dry[0] = replace(dry[0], bars=tuple(bar._replace(volume=0.0, taker_buy=0.0) for bar in dry[0].bars))
    world.wrap = wrapped
    world.predictor = Scores(lambda *_: -0.6)
    world.run(bars=[still, *dry])
    tripped = asked.index("cancel")
    assert asked[:tripped] == ["submit sell"] * 2
    assert asked[tripped : tripped + 4] == ["cancel", "cancel", "submit sell", "submit sell"]
    assert at_venue(world) == {}


@pytest.mark.parametrize(("cause", "loss"), LOSSES)
def test_it_survives_a_restart_and_only_a_person_with_a_reason_ends_it(
    tmp_path: Path, cause: Cause, loss: Decimal
) -> None:
    world = all_in(tmp_path, cause)
    bars = falling(world, cause, loss, 40)
    world.run(bars=bars[:2])
    sent = len(world.records.orders("main", ALL))
    world.run(bars=bars[2:20])
    assert state_of(world).state is TradingState.HALTED
    assert len(world.records.orders("main", ALL)) == sent, "a halted account sent orders after a restart"
    for n, (actor, reason) in enumerate([("", "because"), ("ada", " ")]):
        world.records.ask(Control(f"c{n}", "main", ControlKind.RESUME, actor, reason, world.clock.now()))
    world.run(bars=bars[20:22])
    assert state_of(world).state is TradingState.HALTED
    for n in range(2):
        control = world.records.control(f"c{n}")
        assert control is not None
        assert control.answer.startswith("refused")

    world.records.ask(Control("c9", "main", ControlKind.RESUME, "ada", "looked at it", world.clock.now()))
    world.run(bars=bars[22:])
    state = state_of(world)
    assert state.state is TradingState.ACTIVE
    # What would have tripped at once again began anew, and the account trades.
    base = state.day_start_equity if cause is Cause.DAILY_LOSS else state.peak_equity
    assert base < state.initial_equity * (1 - loss / 2)
    assert len(world.records.orders("main", ALL)) > sent
    assert set(at_venue(world)) == {BTC, ETH}
