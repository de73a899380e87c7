"""A fee that came after its fill: no unit moves, no money is lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.orders import ZERO, Fill, Side
from autotrader.domain.positions import Holdings

AAPL = InstrumentId(Venue.IBKR, "AAPL")
BOUGHT = Fill(
    account="main",
    fill_id="1",
    client_order_id="at1",
    venue_order_id="7",
    instrument=AAPL,
    side=Side.BUY,
    quantity=Decimal(10),
    price=Decimal(180),
    fee=ZERO,
    fee_currency="USD",
    at=datetime(2024, 2, 26, 15, tzinfo=UTC),
)
FEE = replace(BOUGHT, fill_id="1/fee", quantity=ZERO, fee=Decimal(1))
SOLD = replace(BOUGHT, fill_id="2", side=Side.SELL)


def test_a_late_fee_leaves_the_units_and_is_paid_by_the_trade() -> None:
    held, _ = Holdings("main", {"USD": Decimal(10_000)}).after(BOUGHT, currency="USD")
    paid, closed = held.after(FEE, currency="USD")
    assert closed is None
    assert paid.position(AAPL).quantity == Decimal(10)
    assert paid.cash["USD"] == held.cash["USD"] - 1
    _, trade = paid.after(SOLD, currency="USD")
    assert trade is not None
    assert (trade.fees, trade.pnl) == (Decimal(1), Decimal(-1))


def test_a_fee_after_the_trade_was_closed_is_of_no_later_trade() -> None:
    held, _ = Holdings("main", {"USD": Decimal(10_000)}).after(BOUGHT, currency="USD")
    flat, _ = held.after(SOLD, currency="USD")
    paid, closed = flat.after(FEE, currency="USD")
    assert closed is None
    assert paid.cash["USD"] == Decimal(9_999)
    position = paid.position(AAPL)
    assert (position.fees, position.trip_fees, position.opened_at) == (Decimal(1), ZERO, None)
