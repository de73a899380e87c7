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
# Transactions that change positions or cash; deposits, too, but those are a person's to explain.
COUNTED = ("ORDER_FILL", "DAILY_FINANCING")
_KEPT = ("commission", "guaranteedExecutionFee")
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


def fills_of(transaction: Transaction, *, account: str, currency: str) -> list[Fill]:
    """What a transaction means for positions and cash: a fill and what follows from it, or financing.

    An ORDER_FILL is a fill. Its price is the average over the trades that it opened, reduced and
    closed, which alone hold the official prices. Its fee is all that the venue kept beside: the
    commission, what a guarantee of the price cost, financing that was settled, and what rounding
    took off the profit.

    A profit in another currency than the account's is converted at once. That is told as two fills
    of no units: one takes the profit away as a fee in the quote currency, one brings, as a fee below
    zero, what the venue has paid out for it. What the conversion cost is their difference.

    DAILY_FINANCING is a fill of no units for each instrument, whose fee is what holding it cost.

    Parameters
    ----------
    transaction : Transaction
    account : str
        Our name of the account.
    currency : str
        The account's, in which the venue takes its fees.
    """
    if transaction["type"] == "DAILY_FINANCING":
        return [
            _cost(
                transaction,
                account=account,
                part=f"{transaction['id']}/{about['instrument']}",
                symbol=str(about["instrument"]),
                fee=-Decimal(about["financing"]),
                currency=currency,
            )
            for about in transaction.get("positionFinancings", ())
        ]
    if transaction["type"] != "ORDER_FILL":
        return []
    units, symbol = Decimal(transaction["units"]), str(transaction["instrument"])
    quote = quote_currency(symbol)
    paid, realised = Decimal(transaction.get("pl", "0")), _realised(transaction)
    kept = sum((Decimal(transaction.get(name, "0")) for name in _KEPT), ZERO)
    kept -= Decimal(transaction.get("financing", "0"))
    fill = Fill(
        account=account,
        fill_id=str(transaction["id"]),
        client_order_id=client_id_of(transaction),
        venue_order_id=str(transaction["orderID"]),
        instrument=InstrumentId(Venue.OANDA, symbol),
        side=Side.of(units),
        quantity=abs(units),
        price=_price(transaction),
        fee=kept + realised - paid if quote == currency else kept,
        fee_currency=currency,
        at=time_of(transaction),
    )
    if quote == currency or not (realised or paid):
        return [fill]
    parts = (("profit", realised, quote), ("converted", -paid, currency))
    return [
        fill,
        *(
            replace(fill, fill_id=f"{fill.fill_id}/{part}", quantity=ZERO, fee=fee, fee_currency=money)
            for part, fee, money in parts
        ),
    ]


def _realised(transaction: Transaction) -> Decimal:
    """What a fill has realised, in quote currency, before it was converted and rounded."""
    if "quotePL" in transaction:
        return Decimal(transaction["quotePL"])
    paid = Decimal(transaction.get("pl", "0"))
    name = "gainQuoteHomeConversionFactor" if paid > 0 else "lossQuoteHomeConversionFactor"
    return paid / Decimal(transaction[name]) if paid else ZERO


def _cost(
    transaction: Transaction, *, account: str, part: str, symbol: str, fee: Decimal, currency: str
) -> Fill:
    """Money that an instrument cost beside trades."""
    return Fill(
        account=account,
        fill_id=part,
        client_order_id=None,
        venue_order_id=None,
        instrument=InstrumentId(Venue.OANDA, symbol),
        side=Side.BUY,
        quantity=ZERO,
        price=ZERO,
        fee=fee,
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


def units_held(account: Transaction) -> Iterator[tuple[str, Decimal]]:
    """Instrument and net units of all that is held.

    A hedging account may be long and short at once: only the net can be compared with anything.
    """
    for position in account.get("positions", ()):
        units = Decimal(position["long"]["units"]) + Decimal(position["short"]["units"])
        if units:
            yield str(position["instrument"]), units


def cash_of(account: Transaction) -> dict[str, Decimal]:
    """Cash by currency, as if what is held had been paid for in full.

    The venue lends all but the margin: opening a position moves no cash, and its balance holds
    realised profit only. Books in which cash plus positions is equity need the cash that the units
    would have cost: the balance, less what each open trade cost in quote currency. The positions'
    average prices are rounded: over many units that would be dollars.
    """
    cash = {str(account["currency"]): Decimal(account["balance"])}
    for trade in account.get("trades", ()):
        quote = quote_currency(str(trade["instrument"]))
        cash[quote] = cash.get(quote, ZERO) - Decimal(trade["currentUnits"]) * Decimal(trade["price"])
    return cash


def rules_of(instrument: Mapping[str, Any]) -> InstrumentRules:
    """What the venue demands of orders in an instrument."""
    step = Decimal(1).scaleb(-int(instrument["tradeUnitsPrecision"]))
    short_rate = Decimal(instrument.get("financing", {}).get("shortRate", "0"))
    return InstrumentRules(
        tick=Decimal(1).scaleb(-int(instrument["displayPrecision"])),
        lot=max(step, Decimal(instrument["minimumTradeSize"])),
        minimum_notional=ZERO,
        currency=quote_currency(instrument["name"]),
        base_currency=str(instrument["name"]).partition("_")[0],
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
