"""The trader on each venue's stand-in, end to end: what it believes afterwards is what the venue says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.orders import Order, OrderStatus, OrderType, Side, client_order_id
from autotrader.domain.trading import RecoveryKind, TradingState
from autotrader.trading import session
from tests.brokers import binance, ibkr, oanda
from tests.brokers.harness import BrokerHarness, HarnessFactory, Misbehaviour
from tests.brokers.binance import BinanceHarness
from tests.brokers.ibkr import IbkrHarness
from tests.brokers.oanda import OandaHarness
from tests.brokers.trading import CENTS, EVERYTHING, VenueWorld

pytestmark = [pytest.mark.integration]

HARNESSES: dict[str, HarnessFactory] = {
    "binance": binance.harness,
    "ibkr": ibkr.harness,
    "oanda": oanda.harness,
}
CASH = Decimal(100_000)
UP, DOWN, NO = 0.6, -0.6, 0.0
# In, out, in, out.
SCRIPT = (UP, NO, NO, DOWN, NO, NO, UP, NO, NO, DOWN, NO, NO, NO)


@pytest.fixture(params=HARNESSES)
async def venue(request: pytest.FixtureRequest) -> AsyncIterator[BrokerHarness]:
    async with HARNESSES[request.param](CASH) as harness:
        yield harness


@pytest.fixture(autouse=True)
def quick_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "TICK_SECONDS", 0.05)


async def test_positions_cash_and_equity_are_the_venues_after_some_minutes(
    venue: BrokerHarness, tmp_path: Path
) -> None:
    world = VenueWorld(tmp_path, venue, SCRIPT)
    await world.run()
    await world.require_agreement()
    await world.require_each_order_once()
    assert world.state.state is TradingState.ACTIVE
    assert len(world.records.trades("main", EVERYTHING)) >= 2
    # In and out, twice, and nothing beside: what a fee has taken is not bought anew.
    assert len([order for order in world.orders() if order.status is OrderStatus.FILLED]) in {4, 7}
    assert [r.kind for r in world.records.recoveries("main", EVERYTHING)] == [RecoveryKind.STARTUP]


@pytest.mark.parametrize("kind", list(Misbehaviour))
async def test_a_fault_leaves_no_difference(venue: BrokerHarness, tmp_path: Path, kind: Misbehaviour) -> None:
    if kind in venue.cannot:
        pytest.skip("has no meaning at this venue")

    async def misbehave(minute: int) -> None:
        if minute == 3:
            venue.misbehave(kind)

    world = VenueWorld(tmp_path, venue, (UP, NO, NO, DOWN, *[NO] * 7), before=misbehave)
    if kind is Misbehaviour.LATE_FILL:
        # The market goes away from the order, which is taken back, and filled by the next trade.
        world.away, world.silent = frozenset({3}), frozenset({4})
    await world.run()
    assert not venue.due
    await world.require_agreement()
    await world.require_each_order_once()
    assert world.state.state is TradingState.ACTIVE
    assert all(r.resolved for r in world.records.recoveries("main", EVERYTHING))


async def test_what_the_venue_refuses_is_not_asked_for_every_minute(
    venue: BrokerHarness, tmp_path: Path
) -> None:
    async def misbehave(minute: int) -> None:
        if minute == 0:
            for _ in range(5):
                venue.misbehave(Misbehaviour.REJECTED)

    world = VenueWorld(tmp_path, venue, (UP, NO, NO, NO, NO), before=misbehave)
    await world.run()
    assert [order.status for order in world.orders()] == [OrderStatus.REJECTED]


async def test_a_disconnection_in_the_middle_of_an_order_hides_nothing(
    venue: BrokerHarness, tmp_path: Path
) -> None:
    async def cut(minute: int) -> None:
        if minute in {0, 3}:
            venue.misbehave(Misbehaviour.DISCONNECTED)
            await venue.trade(venue.price)

    world = VenueWorld(tmp_path, venue, (UP, NO, NO, DOWN, *[NO] * 5), after=cut)
    await world.run()
    await world.require_agreement()
    await world.require_each_order_once()
    assert world.state.state is TradingState.ACTIVE


async def test_a_stop_and_a_start_in_the_middle_of_a_position_change_nothing(
    venue: BrokerHarness, tmp_path: Path
) -> None:
    world = VenueWorld(tmp_path, venue, (UP, NO, NO, NO, NO, DOWN, NO, NO))
    await world.run(upto=3)
    held = world.records.holdings("main").position(venue.instrument).quantity
    assert held > 0
    await world.run(upto=5)
    assert world.records.holdings("main").position(venue.instrument).quantity == held
    await world.run()
    await world.require_agreement()
    await world.require_each_order_once()
    assert world.state.state is TradingState.ACTIVE


async def test_what_was_traded_before_an_account_began_is_in_its_cash_already(
    venue: BrokerHarness, tmp_path: Path
) -> None:
    async with venue.broker() as broker:
        for name, side in (("in", Side.BUY), ("out", Side.SELL)):
            await broker.rules([venue.instrument])
            await broker.submit(by_hand(venue, name, side))
            await venue.trade(venue.price * Decimal("1.01"))
    world = VenueWorld(tmp_path, venue, (UP, NO, NO, DOWN, NO, NO, NO))
    await world.run()
    await world.require_agreement()
    assert world.state.state is TradingState.ACTIVE


def by_hand(venue: BrokerHarness, name: str, side: Side) -> Order:
    now = venue.now()
    return Order(
        account="main",
        client_order_id=client_order_id("main", "hand", venue.instrument, now, name),
        strategy_id="hand",
        instrument=venue.instrument,
        side=side,
        quantity=venue.quantity,
        type=OrderType.MARKET,
        limit_price=None,
        reference_price=venue.price,
        reduces=False,
        decided_at=now,
        valid_until=now + timedelta(minutes=1),
        recorded_at=now,
        reason="by hand",
    )


async def test_yen_are_converted_and_nights_are_paid_for(tmp_path: Path) -> None:
    async with oanda.harness(CASH) as venue:
        assert isinstance(venue, OandaHarness)
        venue.instrument, venue.price = InstrumentId(Venue.OANDA, "USD_JPY"), Decimal("150.000")

        async def night(minute: int) -> None:
            if minute in {1, 5}:
                venue.book.finance({"USD_JPY": Decimal("1.2345")})

        world = VenueWorld(tmp_path, venue, SCRIPT, after=night)
        await world.run()
        await world.require_agreement()
        assert world.state.state is TradingState.ACTIVE
        assert not any(r.discrepancies for r in world.records.recoveries("main", EVERYTHING))
        equity = world.records.equity("main", EVERYTHING)[0].equity
        assert abs(equity - venue.book.balance) < CENTS + abs(venue.book.unrealised("USD_JPY"))


async def test_interest_that_no_message_tells_of_is_booked_and_told(tmp_path: Path) -> None:
    async with ibkr.harness(CASH) as venue:
        assert isinstance(venue, IbkrHarness)

        async def pay(minute: int) -> None:
            if minute == 0:
                venue.account.cash += Decimal("12.34")

        world = VenueWorld(tmp_path, venue, (NO, NO, UP, NO, DOWN, NO, NO), before=pay)
        await world.run()
        await world.require_agreement()
        assert world.state.state is TradingState.ACTIVE
        (told,) = [r for r in world.recoveries if r.discrepancies]
        assert told.resolved
        assert told.discrepancies[0].value == Decimal("12.34")


async def test_more_than_a_minor_sum_is_a_persons_to_explain(tmp_path: Path) -> None:
    async with ibkr.harness(CASH) as venue:
        assert isinstance(venue, IbkrHarness)

        async def pay(minute: int) -> None:
            if minute in {0, 1}:
                venue.account.cash += Decimal(60)

        world = VenueWorld(tmp_path, venue, (NO, NO, NO, UP, NO), before=pay)
        world.calm *= 3
        await world.run()
        assert world.state.state is TradingState.REDUCING
        assert not world.orders()


@pytest.mark.parametrize("seconds", [30, -30])
async def test_a_clock_that_jumps_against_the_venues_costs_no_order(tmp_path: Path, seconds: int) -> None:
    async with binance.harness(CASH) as venue:
        assert isinstance(venue, BinanceHarness)

        async def skew(minute: int) -> None:
            if minute == 3:
                venue.exchange.advance(timedelta(seconds=seconds))

        world = VenueWorld(tmp_path, venue, (UP, NO, NO, DOWN, *[NO] * 5), before=skew)
        await world.run()
        await world.require_agreement()
        await world.require_each_order_once()
        assert world.state.state is TradingState.ACTIVE
