from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from autotrader.config.settings import RiskSettings
from autotrader.domain.errors import BadData
from autotrader.domain.orders import Fill, Order, OrderStatus, Side
from autotrader.domain.positions import Holdings
from autotrader.ports.broker import VenueOrder
from autotrader.trading.book import Book, Money
from autotrader.trading.deciding import Deciding
from autotrader.trading.exposures import RiskView
from autotrader.trading.limits import RiskLimits
from tests.unit.trading.account import BTC, ETH, NOW, PRICES, RATES, RULES, WALL, D, a_fill, an_order

MONEY = Money("USD", frozenset({"USDT"}))


def a_book(*working: Order, known: tuple[Fill, ...] = ()) -> Book:
    book = Book(
        Holdings("main", {"USDT": D(100_000)}),
        working,
        [(f.instrument, f.fill_id) for f in known],
        RULES,
        MONEY,
    )
    for instrument, price in PRICES.items():
        book.mark(instrument, price, NOW)
    return book


def word(order: Order, status: OrderStatus, filled: str = "0", reason: str = "") -> VenueOrder:
    return VenueOrder(
        "7", order.client_order_id, order.instrument, order.side, order.quantity, D(filled), status, reason
    )


def of(order: Order, quantity: str, id: str = "f1") -> Fill:
    return replace(
        a_fill(order.instrument, order.side, quantity, id=id), client_order_id=order.client_order_id
    )


def test_a_fill_counts_once_however_often_it_is_told() -> None:
    book, fill = a_book(), a_fill(quantity="0.2")
    assert book.take_fill(fill)
    assert not book.take_fill(fill)
    assert not a_book(known=(fill,)).take_fill(fill)
    assert book.quantity(BTC) == D("0.2")


def test_the_same_id_at_another_instrument_is_another_fill() -> None:
    book = a_book()
    assert book.take_fill(a_fill(BTC, id="7"))
    assert book.take_fill(a_fill(ETH, id="7"))


def test_an_order_that_the_venue_calls_filled_stays_open_until_its_fills_have_come() -> None:
    order = replace(an_order(quantity="0.2"), status=OrderStatus.SENT)
    book = a_book(order)
    book.take_word(word(order, OrderStatus.FILLED, "0.2"))
    assert [o.status for o in book.working.values()] == [OrderStatus.OPEN]
    assert book.pending(BTC) == D("0.2")
    book.take_fill(of(order, "0.2"))
    assert not book.working
    assert book.quantity(BTC) == D("0.2")


def test_a_fill_after_the_cancellation_counts() -> None:
    order = replace(an_order(quantity="0.2"), status=OrderStatus.OPEN)
    book = a_book(order)
    book.take_word(word(order, OrderStatus.CANCELLED))
    assert not book.working
    book.take_fill(of(order, "0.2"))
    found = book.find(order.client_order_id)
    assert found is not None
    assert (found.status, book.quantity(BTC)) == (OrderStatus.FILLED, D("0.2"))


def test_an_order_given_up_that_turns_up_works_again() -> None:
    order = replace(an_order(quantity="0.2"), status=OrderStatus.EXPIRED)
    book = a_book()
    book.remember(order)
    book.take_fill(of(order, "0.1"))
    assert [o.filled for o in book.working.values()] == [D("0.1")]


def test_what_moved_is_told_once() -> None:
    book = a_book()
    book.take_fill(a_fill())
    assert book.moved
    moved = book.take_moved()
    assert (len(moved.fills), moved.instruments) == (1, {BTC})
    assert not book.moved


def test_a_fill_of_what_is_not_traded_is_bad_data() -> None:
    book = a_book()
    del book.rules[BTC]
    with pytest.raises(BadData, match="expected fills of"):
        book.take_fill(a_fill())


def test_a_fee_in_a_third_currency_needs_its_price() -> None:
    book, fill = a_book(), replace(a_fill(quantity="0.2", fee="0.1"), fee_currency="BNB")
    with pytest.raises(BadData, match="BNB"):
        book.take_fill(fill)
    assert book.quantity(BTC) == 0
    assert not book.moved
    # In another instrument's base currency it has one.
    book.take_fill(replace(fill, fee_currency="ETH"))
    assert book.holdings.position(BTC).fees == D("0.1") * PRICES[ETH]
    assert book.equity() == D(100_000) - D("0.1") * PRICES[ETH]


def test_an_old_price_judges_no_order() -> None:
    book = a_book()
    book.mark(BTC, PRICES[BTC], NOW - timedelta(minutes=6))
    assert set(book.fresh_prices(NOW)) == set(PRICES) - {BTC}


# What becomes of wishes


def decide(book: Book, units: str, *, max_position: float = 0.2) -> tuple[Order | None, str]:
    limits = RiskLimits.of(
        RiskSettings(max_position=max_position, risk_per_trade=1.0, max_order_notional=D(10**9))
    )  # type: ignore[arg-type]
    view = RiskView.of(
        book.holdings,
        book.working.values(),
        equity=D(100_000),
        now=NOW,
        prices=PRICES,
        rates=RATES,
        rules=RULES,
        stop_distances=dict.fromkeys(PRICES, D("0.01")),
        order_times=(),
        restrictions=(),
    )
    deciding = Deciding(book, limits, strategy_id="s", validity=timedelta(minutes=1))
    decision = deciding.towards(BTC, D(units), view, now=NOW, wall=WALL, why="a test")
    return decision.order, decision.reason


def test_a_wish_becomes_a_limit_order_half_the_band_beyond_the_price() -> None:
    order, _ = decide(a_book(), "0.1005")
    assert order is not None
    assert (order.side, order.quantity, order.limit_price) == (Side.BUY, D("0.100"), D("50500.00"))
    assert not order.reduces
    assert order.valid_until == NOW + timedelta(minutes=1)


def test_limits_cut_a_wish() -> None:
    order, _ = decide(a_book(), "9", max_position=0.1)
    assert order is not None
    assert order.quantity == D("0.200")


def test_a_wish_for_the_other_side_goes_through_flat() -> None:
    book = a_book()
    book.take_fill(a_fill(quantity="0.2"))
    order, _ = decide(book, "-0.3")
    assert order is not None
    assert (order.side, order.quantity, order.reduces) == (Side.SELL, D("0.200"), True)


def test_what_is_less_than_a_lot_is_as_wanted() -> None:
    book = a_book()
    book.take_fill(a_fill(quantity="0.2004"))
    assert decide(book, "0.2009") == (None, "as wanted")
    assert decide(book, "0.2")[0] is None


def test_what_works_is_counted() -> None:
    book = a_book(replace(an_order(quantity="0.1"), status=OrderStatus.OPEN))
    order, _ = decide(book, "0.15")
    assert order is not None
    assert order.quantity == D("0.050")


def test_the_same_decision_has_the_same_id() -> None:
    first, second = decide(a_book(), "0.1")[0], decide(a_book(), "0.1")[0]
    assert first is not None
    assert second is not None
    assert first.client_order_id == second.client_order_id
    assert Decimal(first.quantity) == second.quantity
