"""Orders, fills and holdings from the venue's transactions and account; needs no connection.

An account at OANDA is a log of numbered transactions: whatever an order has become follows from
those that bear its client id. https://developer.oanda.com/rest-live-v20/transaction-df/
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from autotrader.domain.instruments import InstrumentId, InstrumentRules, Venue
from autotrader.domain.orders import ZERO, Fill, OrderStatus, Side
from autotrader.ports.broker import VenueOrder

# Orders that trade on their own account; the others close a trade that is open.
_ORDERS = frozenset({"MARKET", "LIMIT", "STOP", "MARKET_IF_TOUCHED", "FIXED_PRICE"})
_CREATED = frozenset(f"{kind}_ORDER" for kind in _ORDERS)
_REFUSED = frozenset(f"{kind}_ORDER_REJECT" for kind in _ORDERS)
_DAYS_A_YEAR = 365
_BPS = 10_000

Transaction = Mapping[str, Any]


def client_id_of(transaction: Transaction) -> str | None:
    """The client id of the order that a transaction is about."""
    if "clientOrderID" in transaction:
        return str(transaction["clientOrderID"])
    return _client_id(transaction)


def became(known: VenueOrder | None, transaction: Transaction) -> VenueOrder | None:
    """What an order is after one more transaction of it.

    Parameters
    ----------
    known : VenueOrder or None
        What it was; None before its first transaction.
    transaction : Transaction
        Of this order, and none that has been counted already.
    """
    kind = transaction["type"]
    if kind in _CREATED:
        if known is None or known.status is OrderStatus.REJECTED:
            return _order(transaction, OrderStatus.OPEN)
        # What is left after a partial fill is issued anew, under the same client id.
        return replace(known, venue_order_id=str(transaction["id"]), status=OrderStatus.OPEN)
    if kind in _REFUSED:
        # A refused duplicate says nothing of the order that was there before it.
        return known or _order(transaction, OrderStatus.REJECTED, str(transaction["rejectReason"]))
    if known is None:
        return None
    if kind == "ORDER_FILL":
        filled = known.filled + abs(Decimal(transaction["units"]))
        whole = filled >= known.quantity
        return replace(
            known,
            filled=filled,
            status=OrderStatus.FILLED if whole else known.status,
            reason="" if whole else known.reason,
        )
    if kind == "ORDER_CANCEL" and known.status is not OrderStatus.FILLED:
        return replace(known, status=OrderStatus.CANCELLED, reason=str(transaction.get("reason", "")))
    return known


def told_by(transactions: Iterable[Transaction]) -> VenueOrder | None:
    """What an order has become by its transactions, oldest first; None if none of them made one."""
    return functools.reduce(became, transactions, None)


def fill_of(transaction: Transaction, *, account: str, currency: str) -> Fill:
    """The fill of an ORDER_FILL transaction.

    Its price is the average over the trades that it opened, reduced and closed, which alone hold
    the official prices. Its fee is the commission, and what a guarantee of the price cost.

    Parameters
    ----------
    transaction : Transaction
    account : str
        Our name of the account.
    currency : str
        The account's, in which the venue takes its fees.
    """
    units = Decimal(transaction["units"])
    return Fill(
        account=account,
        fill_id=str(transaction["id"]),
        client_order_id=client_id_of(transaction),
        venue_order_id=str(transaction["orderID"]),
        instrument=InstrumentId(Venue.OANDA, transaction["instrument"]),
        side=Side.of(units),
        quantity=abs(units),
        price=_price(transaction),
        fee=Decimal(transaction.get("commission", "0"))
        + Decimal(transaction.get("guaranteedExecutionFee", "0")),
        fee_currency=currency,
        at=time_of(transaction),
    )


def working_orders(account: Transaction) -> Iterator[VenueOrder]:
    """All pending orders of an account's details, also those that hang on a trade.

    A stop loss or take profit names its trade alone: it is of that trade's instrument, of all of
    its units, and against it.
    """
    trades = {trade["id"]: trade for trade in account.get("trades", ())}
    for order in account.get("orders", ()):
        if "instrument" in order:
            yield _order(order, OrderStatus.OPEN)
        elif trade := trades.get(order.get("tradeID")):
            units = -Decimal(trade["currentUnits"])
            about = {**order, "instrument": trade["instrument"], "units": str(units)}
            yield _order(about, OrderStatus.OPEN)


def units_held(account: Transaction) -> Iterator[tuple[str, Decimal, Decimal]]:
    """Instrument, net units and what they cost in quote currency, of all that is held.

    A hedging account may be long and short at once: only the net can be compared with anything.
    """
    for position in account.get("positions", ()):
        units, cost = ZERO, ZERO
        for side in (position["long"], position["short"]):
            held = Decimal(side["units"])
            if held:
                units += held
                cost += held * Decimal(side["averagePrice"])
        if units or cost:
            yield str(position["instrument"]), units, cost


def cash_of(account: Transaction) -> dict[str, Decimal]:
    """Cash by currency, as if what is held had been paid for in full.

    The venue lends all but the margin: opening a position moves no cash, and its balance holds
    realised profit only. Books in which cash plus positions is equity need the cash that the units
    would have cost: the balance, less their cost in quote currency.
    """
    cash = {str(account["currency"]): Decimal(account["balance"])}
    for instrument, _, cost in units_held(account):
        quote = quote_currency(instrument)
        cash[quote] = cash.get(quote, ZERO) - cost
    return cash


def rules_of(instrument: Mapping[str, Any]) -> InstrumentRules:
    """What the venue demands of orders in an instrument.

    `base_currency` is None though units are money: here they are positions, never balances, so that
    no fee is ever taken in them.
    """
    step = Decimal(1).scaleb(-int(instrument["tradeUnitsPrecision"]))
    short_rate = Decimal(instrument.get("financing", {}).get("shortRate", "0"))
    return InstrumentRules(
        tick=Decimal(1).scaleb(-int(instrument["displayPrecision"])),
        lot=max(step, Decimal(instrument["minimumTradeSize"])),
        minimum_notional=ZERO,
        currency=quote_currency(instrument["name"]),
        shortable=True,
        borrow_bps_per_day=max(ZERO, -short_rate) * _BPS / _DAYS_A_YEAR,
    )


def quote_currency(instrument: str) -> str:
    """`USD` of EUR_USD."""
    return instrument.rpartition("_")[2]


def time_of(transaction: Transaction) -> datetime:
    """When it happened; the venue's nanoseconds are cut to microseconds."""
    return datetime.fromisoformat(transaction["time"]).astimezone(UTC)


def _order(details: Transaction, status: OrderStatus, reason: str = "") -> VenueOrder:
    units = Decimal(details["units"])
    return VenueOrder(
        venue_order_id=str(details["id"]),
        client_order_id=_client_id(details),
        instrument=InstrumentId(Venue.OANDA, details["instrument"]),
        side=Side.of(units),
        quantity=abs(units),
        filled=ZERO,
        status=status,
        reason=reason,
    )


def _client_id(details: Transaction) -> str | None:
    given = details.get("clientExtensions", {}).get("id")
    return None if given is None else str(given)


def _price(transaction: Transaction) -> Decimal:
    parts = [*transaction.get("tradesClosed", ())]
    parts += [transaction[name] for name in ("tradeOpened", "tradeReduced") if name in transaction]
    if not parts:
        return Decimal(transaction["price"])
    prices = {Decimal(part["price"]) for part in parts}
    if len(prices) == 1:
        return prices.pop()
    units = sum((abs(Decimal(part["units"])) for part in parts), ZERO)
    return sum((abs(Decimal(p["units"])) * Decimal(p["price"]) for p in parts), ZERO) / units
