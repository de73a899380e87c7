from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest

from autotrader.config.settings import RiskSettings
from autotrader.domain.errors import BadData
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.orders import Fill, Order, OrderStatus, Side
from autotrader.domain.positions import Holdings
from autotrader.domain.trading import Cause, TradingState
from autotrader.ports.broker import VenueAccount, VenueOrder
from autotrader.ports.trading import Restriction
from autotrader.trading.book import Book, Money
from autotrader.trading.deciding import Deciding, Decision
from autotrader.trading.exposures import RiskView
from autotrader.trading.limits import RiskLimits
from autotrader.trading.venue_news import VenueNews
from tests.unit.trading.account import (
    BTC,
    ETH,
    EUR,
    NOW,
    PRICES,
    RATES,
    RULES,
    WALL,
    D,
    a_fill,
    a_state,
    an_order,
)

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


def limits_of(max_position: float = 0.2) -> RiskLimits:
    return RiskLimits.of(
        RiskSettings(max_position=max_position, risk_per_trade=1.0, max_order_notional=D(10**9))
    )  # type: ignore[arg-type]


def view_of(book: Book, *restrictions: Restriction) -> RiskView:
    return RiskView.of(
        book.holdings,
        book.working.values(),
        equity=D(100_000),
        now=NOW,
        prices=PRICES,
        rates=RATES,
        rules=RULES,
        stop_distances=dict.fromkeys(PRICES, D("0.01")),
        order_times=(),
        restrictions=restrictions,
    )


def decide(
    book: Book, units: str, *, max_position: float = 0.2, instrument: InstrumentId = BTC
) -> tuple[Order | None, str]:
    deciding = Deciding(book, limits_of(max_position), strategy_id="s", validity=timedelta(minutes=1))
    decision = deciding.towards(instrument, D(units), view_of(book), now=NOW, wall=WALL, why="a test")
    return decision.order, decision.reason


def flattened(book: Book, breaker: Restriction) -> Sequence[Decision]:
    deciding = Deciding(book, limits_of(), strategy_id="s", validity=timedelta(minutes=1))
    return deciding.flatten(view_of(book, breaker), now=NOW, wall=WALL, why="it fell")


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


# Fees of other instruments, paid in what is a position


def paying_fees_in_eth() -> Book:
    """10 ETH bought, of which fees of BTC took 0.3."""
    book = a_book()
    book.take_fill(a_fill(ETH, quantity="10"))
    book.take_fill(replace(a_fill(BTC, quantity="0.5", fee="0.3"), fee_currency="ETH"))
    return book


def test_what_fees_of_another_instrument_have_taken_cannot_be_sold() -> None:
    book = paying_fees_in_eth()
    assert book.holdings.position(ETH).quantity == 10
    assert book.quantity(ETH) == D("9.7")
    order, _ = decide(book, "0", instrument=ETH)
    assert order is not None
    assert (order.side, order.quantity) == (Side.SELL, D("9.70"))
    breaker = Restriction(Cause.DRAWDOWN, TradingState.HALTED, "fell", WALL, "trader")
    (sell,) = [d.order for d in flattened(book, breaker) if d.order and d.order.instrument == ETH]
    assert sell.quantity == D("9.70")


def test_a_trade_ends_with_all_that_could_be_sold_of_it() -> None:
    book = paying_fees_in_eth()
    book.take_fill(a_fill(ETH, Side.SELL, "9", id="f2"))
    assert book.take_closed() == []
    book.take_fill(a_fill(ETH, Side.SELL, "0.7", id="f3"))
    (trade,) = book.take_closed()
    assert (trade.instrument, book.quantity(ETH), decide(book, "0", instrument=ETH)[0]) == (ETH, 0, None)
    # What was taken over stays what it is: the next trade begins with its own first unit.
    book.take_fill(a_fill(ETH, quantity="2", id="f4"))
    book.take_fill(a_fill(ETH, Side.SELL, "2", id="f5"))
    (trade,) = book.take_closed()
    assert trade.quantity == 2
    assert book.equity() == book.cash() + sum(p.value(PRICES[i]) for i, p in book.holdings.positions.items())


def test_a_fee_of_another_instrument_is_not_bought_anew() -> None:
    book, targets = a_book(), Giving()
    accounting = SimpleNamespace(book=book, state=a_state(), set=lambda **_: None)
    news = VenueNews(accounting, targets, None, None, None, None, actor="t")  # type: ignore[arg-type]
    news.hear(replace(a_fill(BTC, quantity="0.5", fee="0.3"), fee_currency="ETH"))
    news.take(NOW)
    assert targets.given == [(ETH, D("0.3"))]


class Giving:
    def __init__(self) -> None:
        self.given: list[tuple[InstrumentId, Decimal]] = []

    def give_up(self, instrument: InstrumentId, units: Decimal) -> None:
        self.given.append((instrument, units))


# The venue's cash


def test_cash_that_nothing_here_tells_the_worth_of_is_left_out() -> None:
    book = a_book()
    account = VenueAccount({"USDT": D(7), "EUR": D(3), "XRP": D(12), "SHIB": D(0)}, {}, NOW)
    assert book.equity_with(account, [a_fill(quantity="0.1")]) == 7 + 3 * PRICES[EUR] + D("0.1") * PRICES[BTC]
    assert book.holdings.cash == {"USDT": D(100_000)}
    assert book.set_cash(account) == {"XRP": D(12)}
    assert book.holdings.cash == {"USDT": D(7), "EUR": D(3)}


def test_what_fees_have_taken_from_a_position_stays_when_the_venues_cash_is_believed() -> None:
    book = paying_fees_in_eth()
    book.set_cash(VenueAccount({"USDT": D(7)}, {ETH: D("9.7")}, NOW))
    assert (book.holdings.cash, book.quantity(ETH)) == ({"USDT": D(7), "ETH": D("-0.3")}, D("9.7"))


def test_cash_whose_price_is_missing_changes_nothing() -> None:
    book = a_book()
    del book.prices[EUR]
    book.mark(BTC, PRICES[BTC], NOW)
    with pytest.raises(BadData, match="EUR"):
        book.equity_with(VenueAccount({"EUR": D(3)}, {}, NOW), [])
    assert book.equity() == D(100_000)
