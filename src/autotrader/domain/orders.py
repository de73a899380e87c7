"""Orders and fills: exact quantities, and the one way in which an order's state may move."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from enum import StrEnum

from autotrader.domain.instruments import InstrumentId

ZERO = Decimal(0)
_ID_CHARACTERS = 24


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        return 1 if self is Side.BUY else -1

    @classmethod
    def of(cls, quantity: Decimal) -> Side:
        """The side that changes a position by this (signed) quantity."""
        return cls.BUY if quantity > 0 else cls.SELL


class OrderType(StrEnum):
    MARKET = "market"
    LIMIT = "limit"


class OrderStatus(StrEnum):
    """Where an order is.

    RECORDED  durable here, not handed to the venue yet
    SENT      handed over, no answer: it may be there or not, so the venue is asked before anything else
    OPEN      the venue has it; partly filled where `filled` is above zero
    FILLED, CANCELLED, REJECTED, EXPIRED  final: EXPIRED has never been at the venue
    """

    RECORDED = "recorded"
    SENT = "sent"
    OPEN = "open"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        return self in _FINAL


_FINAL = frozenset({OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.EXPIRED})
_NEXT: dict[OrderStatus, frozenset[OrderStatus]] = {
    OrderStatus.RECORDED: frozenset(OrderStatus) - {OrderStatus.RECORDED},
    OrderStatus.SENT: frozenset(OrderStatus) - {OrderStatus.RECORDED, OrderStatus.SENT},
    OrderStatus.OPEN: frozenset({OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.REJECTED}),
    # The venue's word that something was traded is stronger than its word that nothing will be.
    OrderStatus.CANCELLED: frozenset({OrderStatus.FILLED}),
    OrderStatus.REJECTED: frozenset({OrderStatus.OPEN, OrderStatus.FILLED, OrderStatus.CANCELLED}),
    OrderStatus.EXPIRED: frozenset({OrderStatus.OPEN, OrderStatus.FILLED, OrderStatus.CANCELLED}),
    OrderStatus.FILLED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Fill:
    """A trade of ours, as the venue reports it.

    Attributes
    ----------
    account : str
    fill_id : str
        The venue's, unique within account and instrument: the same fill may be reported often.
    client_order_id : str or None
        None where the venue does not say, or the order was not ours.
    quantity : Decimal
        Above zero, in units of the instrument; zero for money that it cost or brought beside trades: a
        fee that came late, financing, the conversion of a profit.
    price : Decimal
        In its quote currency.
    fee : Decimal
        In `fee_currency`; below zero is a rebate.
    at : datetime
        When it traded, by the venue's clock, UTC.
    """

    account: str
    fill_id: str
    client_order_id: str | None
    venue_order_id: str | None
    instrument: InstrumentId
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_currency: str
    at: datetime

    @property
    def signed(self) -> Decimal:
        return self.quantity * self.side.sign


@dataclass(frozen=True, slots=True)
class Order:
    """What we want of a venue, and what has become of it.

    Attributes
    ----------
    client_order_id : str
        Made from what was decided (`client_order_id`): the same decision has the same one.
    quantity : Decimal
        Above zero, a multiple of the instrument's lot.
    limit_price : Decimal or None
        None for market orders.
    reference_price : Decimal
        Last price when it was decided: what limits and price band are measured against.
    reduces : bool
        Whether it only brings a position nearer to zero.
    decided_at, valid_until : datetime
        Market time. Past the latter it is not sent any more.
    recorded_at : datetime
        Wall time.
    filled, average_price
        Of the fills seen so far.
    reason : str
        Why it was made, or, once it is final, why it ended so.
    """

    account: str
    client_order_id: str
    strategy_id: str
    instrument: InstrumentId
    side: Side
    quantity: Decimal
    type: OrderType
    limit_price: Decimal | None
    reference_price: Decimal
    reduces: bool
    decided_at: datetime
    valid_until: datetime
    recorded_at: datetime
    reason: str
    status: OrderStatus = OrderStatus.RECORDED
    venue_order_id: str | None = None
    filled: Decimal = ZERO
    average_price: Decimal | None = None

    @property
    def remaining(self) -> Decimal:
        return max(self.quantity - self.filled, ZERO)

    @property
    def notional(self) -> Decimal:
        """Quantity at the reference price, in quote currency."""
        return self.quantity * self.reference_price

    def moved(
        self, status: OrderStatus, *, reason: str | None = None, venue_order_id: str | None = None
    ) -> Order:
        """The order in another state; unchanged in it where the news is old or contradicts a stronger one."""
        if status is not self.status and status not in _NEXT[self.status]:
            status = self.status
        changed = status is not self.status
        return replace(
            self,
            status=status,
            reason=reason if changed and reason else self.reason,
            venue_order_id=self.venue_order_id or venue_order_id,
        )

    def with_fill(self, fill: Fill) -> Order:
        """The order after one more fill of it; the caller has made sure that the fill is new.

        A fill after the cancellation counts, too: what was traded was traded. A late fee changes
        nothing.
        """
        if not fill.quantity:
            return self
        filled = self.filled + fill.quantity
        paid = (self.average_price or ZERO) * self.filled + fill.price * fill.quantity
        status = OrderStatus.FILLED if filled >= self.quantity else OrderStatus.OPEN
        moved = self.moved(status, venue_order_id=fill.venue_order_id)
        return replace(moved, filled=filled, average_price=paid / filled)


def client_order_id(
    account: str, strategy_id: str, instrument: InstrumentId, decided_at: datetime, purpose: str
) -> str:
    """The id of a decision's order: 26 characters that every venue accepts.

    Parameters
    ----------
    purpose : str
        Sets apart the orders of one decision (`target`, `flatten`).
    """
    text = f"{account}|{strategy_id}|{instrument}|{decided_at.isoformat()}|{purpose}"
    return "at" + hashlib.sha256(text.encode()).hexdigest()[:_ID_CHARACTERS]


def to_step(value: Decimal, step: Decimal) -> Decimal:
    """The nearest multiple of the step that is not farther from zero."""
    return (value / step).to_integral_value(ROUND_DOWN) * step


def to_tick(price: Decimal, tick: Decimal) -> Decimal:
    """The nearest multiple of the tick."""
    return (price / tick).to_integral_value(ROUND_HALF_EVEN) * tick
