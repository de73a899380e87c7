"""Whatever the order in which fills come: the same units, the same cash, and equity to the cent."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.orders import ZERO, Fill, Order, OrderStatus, OrderType, Side
from autotrader.domain.positions import ClosedTrade, Holdings, Position

BTC = InstrumentId(Venue.BINANCE, "BTCUSDT")
AT = datetime(2024, 1, 2, tzinfo=UTC)
LOT, CENT = Decimal("0.001"), Decimal("0.01")
START = Decimal(100_000)


def a_fill(lots: int, cents: int, fee: str = "0", currency: str = "USDT", id: str = "1") -> Fill:
    return Fill(
        account="main",
        fill_id=id,
        client_order_id="at1",
        venue_order_id="7",
        instrument=BTC,
        side=Side.of(Decimal(lots)),
        quantity=abs(lots) * LOT,
        price=cents * CENT,
        fee=Decimal(fee),
        fee_currency=currency,
        at=AT + timedelta(seconds=int(id)),
    )


fills = st.lists(
    st.tuples(
        st.integers(-5000, 5000).filter(bool),
        st.integers(1, 5_000_000),
        st.sampled_from(["0", "0.00012345", "1.5", "-0.2"]),
        st.sampled_from(["USDT", "BTC"]),
    ),
    min_size=1,
    max_size=30,
).map(lambda rows: [a_fill(*row, id=str(n)) for n, row in enumerate(rows)])


def held(fills: Sequence[Fill], dust: Decimal = ZERO) -> tuple[Holdings, list[ClosedTrade]]:
    holdings, trades = Holdings("main", {"USDT": START}), []
    for fill in fills:
        holdings, trade = holdings.after(fill, currency="USDT", base_currency="BTC", dust=dust)
        trades += [trade] if trade else []
    return holdings, trades


@settings(max_examples=100)
@given(fills, st.integers(0, 1000), st.sampled_from([ZERO, LOT]))
def test_fills_in_any_order_give_the_same_units_and_cash(fills: list[Fill], seed: int, dust: Decimal) -> None:
    shuffled = list(fills)
    random.Random(seed).shuffle(shuffled)
    one, other = held(fills, dust)[0], held(shuffled, dust)[0]
    assert one.cash == other.cash
    assert one.position(BTC).quantity == other.position(BTC).quantity


@settings(max_examples=100)
@given(fills, st.integers(1, 5_000_000))
def test_equity_is_cash_plus_position_exactly(fills: list[Fill], cents: int) -> None:
    holdings, _ = held(fills)
    price = cents * CENT
    cash = (
        START - sum(f.signed * f.price for f in fills) - sum(f.fee for f in fills if f.fee_currency == "USDT")
    )
    units = sum((f.signed for f in fills), ZERO) - sum(
        (f.fee for f in fills if f.fee_currency == "BTC"), ZERO
    )
    assert holdings.position(BTC).quantity == units
    assert holdings.equity({BTC: price}, {BTC: "USDT"}, {"USDT": Decimal(1)}) == cash + units * price


@settings(max_examples=100)
@given(fills)
def test_what_closed_trades_earned_and_what_is_open_is_all_that_was_earned(fills: list[Fill]) -> None:
    quoted = [f for f in fills if f.fee_currency == "USDT"]
    holdings, trades = held(quoted)
    position, price = holdings.position(BTC), Decimal("123.45")
    equity = holdings.equity({BTC: price}, {BTC: "USDT"}, {"USDT": Decimal(1)})
    open_trade = position.left_value - position.entered_value if position.quantity >= 0 else ZERO
    if position.quantity < 0:
        open_trade = position.entered_value - position.left_value
    earned = sum((t.pnl for t in trades), ZERO) + open_trade + position.quantity * price - position.trip_fees
    assert abs(equity - START - earned) < Decimal("1e-9")


def test_a_turn_from_long_to_short_closes_one_trade_and_opens_another() -> None:
    position, first = Position("main", BTC).after(a_fill(2000, 10_000, "2", id="1"))
    assert first is None
    turned, trade = position.after(a_fill(-4000, 11_000, "4", id="2"))
    assert trade is not None
    assert (trade.side, trade.quantity, trade.entry, trade.exit) == (Side.BUY, 2, 100, 110)
    assert trade.pnl == 20 - 2 - 2  # half of the second fee is the exit's
    assert (turned.quantity, turned.average_price, turned.trip_fees) == (-2, 110, 2)
    assert turned.opened_at == AT + timedelta(seconds=2)


def test_what_cannot_be_traded_is_held_but_no_open_trade() -> None:
    bought, _ = Position("main", BTC).after(
        a_fill(1000, 10_000, "0.0004", "BTC", "1"), base_currency="BTC", dust=LOT
    )
    assert bought.quantity == Decimal("0.9996")
    sold, trade = bought.after(a_fill(-999, 12_000, id="2"), base_currency="BTC", dust=LOT)
    assert trade is not None
    assert (sold.quantity, sold.opened_at) == (Decimal("0.0006"), None)
    again, _ = sold.after(a_fill(1000, 10_000, id="3"), base_currency="BTC", dust=LOT)
    assert again.opened_at == AT + timedelta(seconds=3)


def an_order(status: OrderStatus = OrderStatus.OPEN) -> Order:
    return Order(
        account="main",
        client_order_id="at1",
        strategy_id="s",
        instrument=BTC,
        side=Side.BUY,
        quantity=Decimal(3),
        type=OrderType.MARKET,
        limit_price=None,
        reference_price=Decimal(100),
        reduces=False,
        decided_at=AT,
        valid_until=AT,
        recorded_at=AT,
        reason="",
        status=status,
    )


@settings(max_examples=50)
@given(st.permutations([(500, 10_000), (1000, 10_100), (1500, 9_900)]), st.sampled_from(list(OrderStatus)))
def test_an_order_is_filled_by_its_fills_in_any_order_whatever_was_said_of_it(
    parts: list[tuple[int, int]], said: OrderStatus
) -> None:
    order = an_order(said) if said is not OrderStatus.FILLED else an_order()
    for n, (lots, cents) in enumerate(parts):
        order = order.with_fill(a_fill(lots, cents, id=str(n)))
    assert (order.status, order.filled, order.remaining) == (OrderStatus.FILLED, 3, 0)
    assert order.average_price is not None
    assert abs(order.average_price - Decimal("299.5") / 3) < Decimal("1e-20")


def test_old_news_does_not_move_an_order_back() -> None:
    assert an_order(OrderStatus.FILLED).moved(OrderStatus.OPEN).status is OrderStatus.FILLED
    assert an_order(OrderStatus.CANCELLED).moved(OrderStatus.OPEN).status is OrderStatus.CANCELLED
    assert an_order(OrderStatus.OPEN).moved(OrderStatus.SENT).status is OrderStatus.OPEN
    assert an_order(OrderStatus.CANCELLED).with_fill(a_fill(1000, 100)).status is OrderStatus.CANCELLED
