from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.orders import Order, OrderStatus, Side
from autotrader.domain.positions import Holdings, Position
from autotrader.domain.trading import DiscrepancyKind
from autotrader.ports.broker import VenueAccount, VenueOrder
from autotrader.trading.reconciliation import Comparison, Ours, Theirs, Yardstick, compare
from tests.unit.trading.account import BTC, ETH, NOW, PRICES, RATES, RULES, D, an_order

SPOT = {instrument: RULES[instrument] for instrument in (BTC, ETH)}
YARDSTICK = Yardstick(SPOT, PRICES, RATES, major=D(100))
LATER = NOW + timedelta(minutes=5)


def ours(
    positions: Mapping[InstrumentId, str] | None = None,
    *orders: Order,
    cash: Mapping[str, str] | None = None,
    newest_fill: datetime | None = NOW,
    finished: tuple[str, ...] = (),
) -> Ours:
    held = {i: Position("main", i, D(units)) for i, units in (positions or {}).items()}
    money = {currency: D(amount) for currency, amount in (cash or {"USDT": "1000"}).items()}
    working = {order.client_order_id: order for order in orders}
    return Ours(Holdings("main", money, held), working, finished, newest_fill)


def theirs(
    positions: Mapping[InstrumentId, str] | None = None,
    *orders: VenueOrder,
    cash: Mapping[str, str] | None = None,
    at: datetime = LATER,
) -> Theirs:
    held = {i: D(units) for i, units in (positions or {}).items()}
    money = {currency: D(amount) for currency, amount in (cash or {"USDT": "1000"}).items()}
    return Theirs(Venue.BINANCE, VenueAccount(money, held, at), orders)


def working(
    instrument: InstrumentId = BTC,
    side: Side = Side.BUY,
    quantity: str = "0.1",
    *,
    id: str = "at1",
    status: OrderStatus = OrderStatus.OPEN,
    filled: str = "0",
    venue_id: str | None = "v1",
) -> Order:
    order = an_order(instrument, side, quantity, id=id)
    return replace(order, status=status, filled=D(filled), venue_order_id=venue_id)


def at_venue(
    id: str | None = "at1",
    *,
    venue_id: str = "v1",
    instrument: InstrumentId = BTC,
    quantity: str = "0.1",
    filled: str = "0",
    status: OrderStatus = OrderStatus.OPEN,
) -> VenueOrder:
    return VenueOrder(venue_id, id, instrument, Side.BUY, D(quantity), D(filled), status)


def compared(mine: Ours, its: Theirs, yardstick: Yardstick = YARDSTICK) -> Comparison:
    return compare(mine, its, yardstick)


def kinds(comparison: Comparison) -> list[DiscrepancyKind]:
    return [discrepancy.kind for discrepancy in comparison.discrepancies]


def test_what_is_equal_agrees() -> None:
    mine = ours({BTC: "0.5", ETH: "-1"}, working())
    assert compared(mine, theirs({BTC: "0.5", ETH: "-1"}, at_venue())).agrees


@pytest.mark.parametrize(
    ("here", "there", "kind"),
    [
        ("0", "0.5", DiscrepancyKind.EXTRA_AT_BROKER),
        ("0.0004", "0.5", DiscrepancyKind.EXTRA_AT_BROKER),
        ("0.5", "0", DiscrepancyKind.MISSING_AT_BROKER),
        ("0.5", "0.0004", DiscrepancyKind.MISSING_AT_BROKER),
        ("0.5", "0.4", DiscrepancyKind.QUANTITY_MISMATCH),
        ("0.5", "-0.5", DiscrepancyKind.QUANTITY_MISMATCH),
    ],
)
def test_a_difference_has_a_kind_and_a_value(here: str, there: str, kind: DiscrepancyKind) -> None:
    (found,) = compared(ours({BTC: here}), theirs({BTC: there})).discrepancies
    assert (found.kind, found.instrument, found.ours, found.theirs) == (kind, BTC, D(here), D(there))
    assert found.value == abs(D(there) - D(here)) * 50_000
    assert found.is_major


def test_positions_that_only_one_side_names_are_seen() -> None:
    assert kinds(compared(ours(), theirs({ETH: "1"}))) == [DiscrepancyKind.EXTRA_AT_BROKER]
    assert kinds(compared(ours({ETH: "1"}), theirs())) == [DiscrepancyKind.MISSING_AT_BROKER]


@pytest.mark.parametrize(("units", "is_major"), [("0.04", False), ("0.05", True)])
def test_a_difference_is_major_beyond_a_hundred_dollars(units: str, is_major: bool) -> None:
    (found,) = compared(ours(), theirs({ETH: units})).discrepancies
    assert found.is_major is is_major


def test_exactly_a_hundred_dollars_is_not_beyond_them() -> None:
    (found,) = compared(ours(), theirs({BTC: "0.002"})).discrepancies
    assert (found.value, found.is_major) == (D(100), False)


def test_dust_below_a_lot_is_no_difference_and_a_lot_is_one() -> None:
    assert compared(ours({BTC: "0.5"}), theirs({BTC: "0.500999"})).agrees
    assert kinds(compared(ours({BTC: "0.5"}), theirs({BTC: "0.501"}))) == [DiscrepancyKind.QUANTITY_MISMATCH]


def test_cash_counts_to_the_cent() -> None:
    assert compared(ours(), theirs(cash={"USDT": "1000.01"})).agrees
    (found,) = compared(ours(), theirs(cash={"USDT": "899.99"})).discrepancies
    assert (found.kind, found.is_major) == (DiscrepancyKind.QUANTITY_MISMATCH, True)
    assert (str(found.instrument), found.value) == ("binance:USDT", D("100.01"))
    assert found.detail == "cash of 1000 USDT here and 899.99 there"
    (found,) = compared(ours(), theirs(cash={"USDC": "1"})).discrepancies
    assert found.kind is DiscrepancyKind.MISSING_AT_BROKER


def test_currencies_that_nothing_here_is_paid_in_are_not_ours_to_compare() -> None:
    assert compared(ours(), theirs(cash={"USDT": "1000", "SHIB": "123456", "BTC": "1"})).agrees


def test_fees_paid_in_what_is_a_position_are_one_balance_at_the_venue() -> None:
    mine = ours({ETH: "5"}, cash={"USDT": "1000", "ETH": "-0.02"})
    assert compared(mine, theirs({ETH: "4.98"})).agrees
    assert kinds(compared(mine, theirs({ETH: "5"}))) == [DiscrepancyKind.QUANTITY_MISMATCH]


def test_fees_paid_in_what_is_no_position_are_cash() -> None:
    mine = ours(cash={"USDT": "1000", "BNB": "2"})
    its = theirs(cash={"USDT": "1000", "BNB": "1"})
    found = compared(mine, its, replace(YARDSTICK, rates={**RATES, "BNB": D(400)}))
    assert [(str(d.instrument), d.value) for d in found.discrepancies] == [("binance:BNB", D(400))]


def test_what_cannot_be_valued_is_not_called_small() -> None:
    blind = replace(YARDSTICK, prices={})
    found = compared(ours(), theirs({BTC: "0.5"}), blind)
    assert found.discrepancies == ()
    assert "no price or rate tells what that is worth" in found.unsure[0]
    assert compared(ours({BTC: "0.5"}), theirs({BTC: "0.5"}), blind).agrees


# ----------------------------------------------------------------------------- horrors


def test_a_snapshot_older_than_our_newest_fill_proves_nothing() -> None:
    stale = theirs({BTC: "0"}, cash={"USDT": "26000"}, at=NOW - timedelta(microseconds=1))
    found = compared(ours({BTC: "0.5"}, cash={"USDT": "1000"}), stale)
    assert found.discrepancies == ()
    assert "before our fill of" in found.unsure[0]
    alike = replace(stale, account=replace(stale.account, positions={BTC: D("0.5")}))
    assert not compared(ours({BTC: "0.5"}), alike).agrees


def test_a_snapshot_of_the_same_seconds_as_a_fill_may_agree_and_may_not_accuse() -> None:
    soon = NOW + timedelta(seconds=9)
    assert compared(ours({BTC: "0.5"}), theirs({BTC: "0.5"}, at=soon)).agrees
    found = compared(ours({BTC: "0.5"}), theirs({BTC: "0"}, at=soon))
    assert (found.discrepancies, len(found.unsure)) == ((), 1)
    settled = compared(ours({BTC: "0.5"}), theirs({BTC: "0"}, at=NOW + timedelta(seconds=10)))
    assert kinds(settled) == [DiscrepancyKind.MISSING_AT_BROKER]


def test_an_orphan_is_seen_even_in_a_stale_snapshot() -> None:
    stale = theirs(None, at_venue(None), at=NOW - timedelta(hours=1))
    assert kinds(compared(ours(), stale)) == [DiscrepancyKind.ORPHANED_ORDER]


@pytest.mark.parametrize("id", [None, "somebody-elses"])
def test_an_order_that_is_not_ours_is_an_orphan(id: str | None) -> None:
    (found,) = compared(ours(), theirs(None, at_venue(id, quantity="0.3", filled="0.1"))).discrepancies
    assert found.kind is DiscrepancyKind.ORPHANED_ORDER
    assert (found.ours, found.theirs, found.value) == (D(0), D("0.2"), D(10_000))
    assert "venue order v1" in found.detail


def test_an_order_that_the_venue_lists_twice_is_one_order() -> None:
    assert compared(ours(None, working()), theirs(None, at_venue(), at_venue())).agrees
    assert len(compared(ours(), theirs(None, at_venue(None), at_venue(None))).discrepancies) == 1


def test_ids_of_orders_are_an_instruments_own() -> None:
    its = theirs(None, at_venue(None), at_venue(None, instrument=ETH))
    assert len(compared(ours(), its).discrepancies) == 2


@pytest.mark.parametrize("known", ["v1", "v2"])
def test_an_order_that_was_sent_twice_is_an_orphan_once(known: str) -> None:
    mine = ours(None, working(venue_id=known))
    (found,) = compared(mine, theirs(None, at_venue(venue_id="v1"), at_venue(venue_id="v2"))).discrepancies
    assert found.kind is DiscrepancyKind.ORPHANED_ORDER
    assert f"venue order {'v2' if known == 'v1' else 'v1'}" in found.detail


@pytest.mark.parametrize("status", [OrderStatus.RECORDED, OrderStatus.SENT])
def test_an_order_that_the_venue_has_not_seen_yet_is_no_discrepancy(status: OrderStatus) -> None:
    mine = ours({BTC: "0.5"}, working(status=status, venue_id=None))
    assert compared(mine, theirs({BTC: "0.5"})).agrees


@pytest.mark.parametrize(
    ("there", "explained"), [("0.6", True), ("0.55", True), ("0.601", False), ("0.4", False)]
)
def test_an_order_in_flight_explains_as_much_as_it_could_have_traded(there: str, explained: bool) -> None:
    mine = ours({BTC: "0.5"}, working(status=OrderStatus.SENT, venue_id=None))
    found = compared(mine, theirs({BTC: there}))
    assert (len(found.discrepancies), len(found.unsure)) == ((0, 1) if explained else (1, 0))


def test_an_order_in_flight_explains_nothing_of_another_instrument() -> None:
    mine = ours({ETH: "1"}, working(status=OrderStatus.SENT, venue_id=None))
    assert kinds(compared(mine, theirs({ETH: "2"}))) == [DiscrepancyKind.QUANTITY_MISMATCH]


def test_cash_is_not_judged_while_an_order_is_in_flight() -> None:
    mine = ours(None, working(status=OrderStatus.SENT, venue_id=None))
    found = compared(mine, theirs(cash={"USDT": "500"}))
    assert (found.discrepancies, len(found.unsure)) == ((), 1)


def test_a_working_order_that_the_venue_does_not_list_is_asked_for_and_not_dropped() -> None:
    found = compared(ours({BTC: "0.5"}, working()), theirs({BTC: "0.6"}))
    assert found.discrepancies == ()
    assert "at1" in found.unsure[0]
    assert "ask for it and its fills" in found.unsure[0]


def test_fills_that_the_venue_counts_and_we_do_not_are_asked_for() -> None:
    mine = ours({BTC: "0.5"}, working(filled="0.02"))
    found = compared(mine, theirs({BTC: "0.53"}, at_venue(filled="0.05")))
    assert found.discrepancies == ()
    assert len(found.unsure) == 2


def test_a_resting_order_whose_fills_are_known_hides_no_difference() -> None:
    mine = ours({BTC: "0.5"}, working(filled="0.02"))
    found = compared(mine, theirs({BTC: "0.53"}, at_venue(filled="0.02")))
    assert (kinds(found), found.unsure) == ([DiscrepancyKind.QUANTITY_MISMATCH], ())


def test_an_order_that_ended_here_and_is_listed_there_is_asked_for() -> None:
    found = compared(ours(finished=("at1",)), theirs(None, at_venue()))
    assert found.discrepancies == ()
    assert "has ended here" in found.unsure[0]


def test_final_orders_in_a_listing_are_not_open() -> None:
    its = theirs(None, at_venue("foreign", status=OrderStatus.CANCELLED))
    assert compared(ours(), its).agrees


def test_what_is_in_base_currency_is_valued_by_its_rate() -> None:
    rates: dict[str, Decimal] = {"USDT": D("0.5")}
    (found,) = compared(ours(), theirs({BTC: "0.002"}), replace(YARDSTICK, rates=rates)).discrepancies
    assert found.value == D(50)


# --------------------------------------------------------------- what nobody has an explanation for


def test_what_the_venue_has_beyond_our_positions_is_told_by_instrument() -> None:
    found = compared(ours({BTC: "0.5", ETH: "2"}), theirs({BTC: "-0.1", ETH: "2"}, cash={"USDT": "9"}))
    assert found.unexplained == {BTC: D("-0.6")}
    assert compared(ours(), theirs(None, at_venue(None))).unexplained == {}


def test_nothing_is_unexplained_that_an_order_or_the_venues_delay_may_explain() -> None:
    mine = ours({BTC: "0.5"}, working(status=OrderStatus.SENT, venue_id=None))
    assert compared(mine, theirs({BTC: "0.6"})).unexplained == {}
    for at in (NOW + timedelta(seconds=9), NOW - timedelta(seconds=1)):
        assert compared(ours({BTC: "0.5"}), theirs({BTC: "0"}, at=at)).unexplained == {}
