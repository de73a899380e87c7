"""Orders, trades and balances, from the venue's own messages: pure, and needs no connection.

https://developers.binance.com/docs/binance-spot-api-docs/rest-api and `.../user-data-stream`
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from autotrader.connectors.binance_ws.client import SymbolInfo
from autotrader.connectors.binance_ws.ticks import instant
from autotrader.domain.errors import BadData
from autotrader.domain.instruments import InstrumentId, InstrumentRules, Venue
from autotrader.domain.orders import Fill, OrderStatus, Side
from autotrader.ports.broker import Update, VenueOrder

_STATUSES = {
    "NEW": OrderStatus.OPEN,
    "PENDING_NEW": OrderStatus.OPEN,
    "PARTIALLY_FILLED": OrderStatus.OPEN,
    "PENDING_CANCEL": OrderStatus.OPEN,
    "FILLED": OrderStatus.FILLED,
    "CANCELED": OrderStatus.CANCELLED,
    "EXPIRED": OrderStatus.CANCELLED,
    "EXPIRED_IN_MATCH": OrderStatus.CANCELLED,
    "REJECTED": OrderStatus.REJECTED,
}
_UNREMARKABLE = frozenset({OrderStatus.OPEN, OrderStatus.FILLED})
_TRADED = "TRADE"
_TOLD, _OVER = "executionReport", frozenset({"eventStreamTerminated", "serverShutdown"})


class OrderMessage(msgspec.Struct, rename="camel"):
    """An order, in the answer to whatever was asked about it."""

    symbol: str
    order_id: int
    client_order_id: str
    side: str
    orig_qty: Decimal
    executed_qty: Decimal
    status: str
    orig_client_order_id: str = ""

    def order(self) -> VenueOrder:
        """The order; of a cancellation `clientOrderId` is its own id rather than the order's."""
        return _order(
            self.symbol,
            self.order_id,
            self.orig_client_order_id or self.client_order_id,
            self.side,
            self.orig_qty,
            self.executed_qty,
            self.status,
        )


class TradeMessage(msgspec.Struct, rename="camel"):
    """A trade of ours; it says its order in the venue's words only."""

    symbol: str
    id: int
    order_id: int
    price: Decimal
    qty: Decimal
    commission: Decimal
    commission_asset: str
    time: int
    is_buyer: bool

    def fill(self, account: str, client_order_id: str | None) -> Fill:
        return Fill(
            account=account,
            fill_id=str(self.id),
            client_order_id=client_order_id,
            venue_order_id=str(self.order_id),
            instrument=InstrumentId(Venue.BINANCE, self.symbol),
            side=Side.BUY if self.is_buyer else Side.SELL,
            quantity=self.qty,
            price=self.price,
            fee=self.commission,
            fee_currency=self.commission_asset,
            at=instant(self.time),
        )


class Balance(msgspec.Struct):
    asset: str
    free: Decimal
    locked: Decimal


class AccountMessage(msgspec.Struct, rename="camel"):
    """Balances, and when they last changed, in ms; 0 where nothing ever happened."""

    balances: list[Balance]
    update_time: int = 0

    def held(self) -> dict[str, Decimal]:
        """What there is of each asset, reserved or not; none is zero."""
        held = {balance.asset: balance.free + balance.locked for balance in self.balances}
        return {asset: amount for asset, amount in held.items() if amount}


class _Report(msgspec.Struct):
    """`executionReport`; names are the venue's."""

    s: str
    c: str
    S: str
    q: Decimal
    x: str
    X: str
    r: str
    i: int
    z: Decimal
    l: Decimal  # noqa: E741 - the venue's name
    L: Decimal
    T: int
    t: int
    n: Decimal | None = None
    N: str | None = None
    C: str | None = None

    def updates(self, account: str) -> list[Update]:
        client_order_id = self.C if self.C and self.C != "null" else self.c
        order = _order(self.s, self.i, client_order_id, self.S, self.q, self.z, self.X, self.r)
        if self.x != _TRADED:
            return [order]
        fill = Fill(
            account=account,
            fill_id=str(self.t),
            client_order_id=client_order_id,
            venue_order_id=order.venue_order_id,
            instrument=order.instrument,
            side=order.side,
            quantity=self.l,
            price=self.L,
            fee=self.n or Decimal(0),
            fee_currency=self.N or "",
            at=instant(self.T),
        )
        return [fill, order]


class _Kind(msgspec.Struct):
    e: str


class _Message(msgspec.Struct):
    event: msgspec.Raw


class StreamEnded(Exception):
    """The venue says that nothing more will come over this connection."""


def decode_updates(message: bytes, account: str) -> list[Update]:
    """Fills and states in a message of the user data stream; none where it tells of something else.

    Raises
    ------
    BadData
        If it can't be read: what it told is lost.
    StreamEnded
    """
    try:
        event = msgspec.json.decode(message, type=_Message).event
        kind = msgspec.json.decode(event, type=_Kind).e
        if kind in _OVER:
            raise StreamEnded(kind)
        return msgspec.json.decode(event, type=_Report).updates(account) if kind == _TOLD else []
    except (msgspec.DecodeError, UnicodeDecodeError) as failure:
        raise BadData(f"expected an event of the account, was {message[:80]!r}: {failure}") from None


def rules_of(info: SymbolInfo) -> InstrumentRules:
    """What a symbol's filters demand of any order, at market or not.

    Raises
    ------
    BadData
        If price or quantity have no steps, or the two steps of a quantity do not fit each other.
    """
    filters = {given.filterType: given for given in info.filters}
    steps = {name: f.stepSize for name, f in filters.items() if f.stepSize and name.endswith("LOT_SIZE")}
    price = filters.get("PRICE_FILTER")
    if price is None or not price.tickSize or "LOT_SIZE" not in steps:
        raise BadData(f"expected PRICE_FILTER and LOT_SIZE of {info.symbol}, was {', '.join(filters)}")
    lot = max(step for step in steps.values() if step)
    if any(step and lot % step for step in steps.values()):
        raise BadData(f"expected one step of {info.symbol}'s quantities to be a multiple of all, was {steps}")
    notional = [f.minNotional for name, f in filters.items() if name.endswith("NOTIONAL") and f.minNotional]
    return InstrumentRules(
        tick=price.tickSize.normalize(),
        lot=lot.normalize(),
        minimum_notional=max(notional, default=Decimal(0)),
        currency=info.quoteAsset,
        base_currency=info.baseAsset,
    )


def _order(
    symbol: str,
    order_id: int,
    client_order_id: str,
    side: str,
    quantity: Decimal,
    filled: Decimal,
    status: str,
    reason: str = "NONE",
) -> VenueOrder:
    if status not in _STATUSES:
        raise BadData(f"expected a status of an order, was {status!r}: see the venue's list of changes")
    moved = _STATUSES[status]
    words = [status] if moved not in _UNREMARKABLE else []
    if reason != "NONE":
        words.append(reason)
    return VenueOrder(
        venue_order_id=str(order_id),
        client_order_id=client_order_id,
        instrument=InstrumentId(Venue.BINANCE, symbol),
        side=Side.BUY if side == "BUY" else Side.SELL,
        quantity=quantity,
        filled=filled,
        status=moved,
        reason=" ".join(words),
    )
