"""The trader on each venue's stand-in, end to end: what it believes afterwards is what the venue says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from autotrader.domain.trading import TradingState
from autotrader.trading import session
from tests.brokers import binance, ibkr, oanda
from tests.brokers.harness import BrokerHarness, HarnessFactory, Misbehaviour
from tests.brokers.trading import VenueWorld

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
    made = await world.run()
    orders = world.orders()
    for o in orders:
        print(o.side, o.quantity, o.status, o.filled, o.average_price, o.reason)
    print(world.state.state, world.state.restrictions, world.state.equity)
    for r in world.records.recoveries("main", __import__("tests.brokers.trading").brokers.trading.EVERYTHING):
        print(r.kind, r.adopted_fills, r.resolved, r.discrepancies)
    print(world.records.trades("main", __import__("tests.brokers.trading").brokers.trading.EVERYTHING))
    await world.require_agreement()
    assert world.state.state is TradingState.ACTIVE


def show(world):
    for o in world.orders():
        print(o.client_order_id[:6], o.side, o.quantity, o.status, o.filled, o.average_price, o.reason)
    print(world.state.state, world.state.restrictions, world.state.equity)
    from tests.brokers.trading import EVERYTHING
    for r in world.records.recoveries("main", EVERYTHING):
        print(r.kind, r.adopted_fills, r.resolved, r.discrepancies)
    print(world.records.dead_letters("main", EVERYTHING))


@pytest.mark.parametrize("kind", list(Misbehaviour))
async def test_a_fault_leaves_no_difference(venue: BrokerHarness, tmp_path: Path, kind: Misbehaviour) -> None:
    if kind in venue.cannot:
        pytest.skip("has no meaning at this venue")

    async def misbehave(minute: int) -> None:
        if minute == 3:
            venue.misbehave(kind)

    late = kind is Misbehaviour.LATE_FILL
    world = VenueWorld(tmp_path, venue, (UP, *[NO] * 2, DOWN, *[NO] * 7), before=misbehave, silent=frozenset({4} if late else ()))
    try:
        await world.run()
    finally:
        show(world)
    await world.require_agreement()
    await world.require_each_order_once()
    assert world.state.state is TradingState.ACTIVE
