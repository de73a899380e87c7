"""One account of the exchange: balances, orders, trades, and whoever listens to them.

It knows no market: at which price and when an order is filled is told by `matching`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal

from autotrader.apps.exchange.answers import Refused
from autotrader.apps.exchange.symbols import assets

COMMISSION = Decimal("0.001")  # of what is received; the venue's for an ordinary account
ZERO = Decimal(0)
_EIGHT_PLACES = Decimal("1e-8")
_INSUFFICIENT = "Account has insufficient balance for requested action."

NEW, PARTIALLY_FILLED, FILLED, CANCELED = "NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED"
_OPEN = frozenset({NEW, PARTIALLY_FILLED})


@dataclass(eq=False, slots=True)
class Placed:
    """An order.

    Attributes
    ----------
    limit : Decimal or None
        None at market.
    executed, paid : Decimal
        Units traded so far, and their value in the quote asset.
    """

    order_id: int
    client_id: str
    symbol: str
    is_buy: bool
    quantity: Decimal
    limit: Decimal | None
    placed_ms: int
    updated_ms: int
    status: str = NEW
    executed: Decimal = ZERO
    paid: Decimal = ZERO

    @property
    def is_open(self) -> bool:
        return self.status in _OPEN

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.executed

    @property
    def reserved(self) -> tuple[str, Decimal]:
        """Which asset, and how much of it, an open order keeps back."""
        base, quote = assets(self.symbol)
        return (quote, self.remaining * (self.limit or ZERO)) if self.is_buy else (base, self.remaining)


@dataclass(frozen=True, slots=True)
class Trade:
    """A fill of one of the account's orders."""

    trade_id: int
    order: Placed
    price: Decimal
    quantity: Decimal
    commission: Decimal
    commission_asset: str
    at_ms: int
    is_maker: bool


@dataclass(slots=True)
class Balance:
    free: Decimal = ZERO
    locked: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Happening:
    """What listeners are told: an order in its new state, and the trade that brought it there.

    Attributes
    ----------
    kind : str
        Execution type: NEW, TRADE or CANCELED.
    executed : Decimal
        Of the order, after this.
    """

    kind: str
    order: Placed
    status: str
    executed: Decimal
    paid: Decimal
    at_ms: int
    trade: Trade | None = None


Listener = Callable[[Happening], None]


@dataclass(slots=True)
class Account:
    """What one key may trade with.

    Parameters
    ----------
    balances : Mapping[str, Decimal]
        What is in it at first, by asset.

    Attributes
    ----------
    orders : dict[int, Placed]
        All that ever were, by the venue's id.
    trades : list[Trade]
        In order of their ids.
    updated_ms : int
        Time of the newest change of a balance; 0 before the first.
    stale : tuple
        Balances and time of before the newest change.
    listeners : list of Listener
    """

    balances: dict[str, Balance]
    orders: dict[int, Placed] = field(default_factory=dict)
    trades: list[Trade] = field(default_factory=list)
    updated_ms: int = 0
    stale: tuple[dict[str, Balance], int] = field(default_factory=lambda: ({}, 0))
    listeners: list[Listener] = field(default_factory=list)
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def of(cls, balances: Mapping[str, Decimal]) -> Account:
        return cls({asset: Balance(amount) for asset, amount in balances.items()})

    def open_orders(self, symbol: str | None = None) -> list[Placed]:
        return [o for o in self.orders.values() if o.is_open and symbol in {None, o.symbol}]

    def find(self, symbol: str, order_id: int | None, client_id: str | None) -> Placed | None:
        """The order with the id; of a client's, the newest that bore it."""
        if order_id is not None:
            found = self.orders.get(order_id)
            return found if found and found.symbol == symbol else None
        named = (o for o in reversed(self.orders.values()) if (o.symbol, o.client_id) == (symbol, client_id))
        return next(named, None)

    def place(
        self,
        symbol: str,
        client_id: str,
        *,
        is_buy: bool,
        quantity: Decimal,
        limit: Decimal | None,
        price: Decimal,
        at_ms: int,
    ) -> Placed:
        """Take an order in, and set aside what it needs.

        A client's id is unique among the open orders only: once its order is done, the venue takes
        another with the same id, and so does this.

        Parameters
        ----------
        price : Decimal
            Where the market stands.

        Raises
        ------
        Refused
            If there is an open order with the id, or not enough to pay for this one.
        """
        if any(o.client_id == client_id for o in self.open_orders(symbol)):
            raise Refused(-2010, "Duplicate order sent.")
        base, quote = assets(symbol)
        needed, of = (quantity * (limit or price), quote) if is_buy else (quantity, base)
        if self.balances.get(of, Balance()).free < needed:
            raise Refused(-2010, _INSUFFICIENT)
        order = Placed(next(self._ids), client_id, symbol, is_buy, quantity, limit, at_ms, at_ms)
        self.orders[order.order_id] = order
        if limit is not None:
            self._move(order, -1, at_ms)
        self._tell(order, NEW, at_ms)
        return order

    def fill(self, order: Placed, price: Decimal, at_ms: int, *, is_maker: bool) -> Trade:
        """Trade all that is left of it."""
        quantity = order.remaining
        if order.limit is not None and order.is_open:
            self._move(order, +1, at_ms)
        base, quote = assets(order.symbol)
        value = quantity * price
        got, received, gave, given = (
            (base, quantity, quote, value) if order.is_buy else (quote, value, base, quantity)
        )
        commission = (received * COMMISSION).quantize(_EIGHT_PLACES, ROUND_DOWN)
        self._remember(at_ms)
        self._balance(got).free += received - commission
        self._balance(gave).free -= given
        order.executed += quantity
        order.paid += value
        order.status, order.updated_ms = FILLED, at_ms
        trade = Trade(len(self.trades) + 1, order, price, quantity, commission, got, at_ms, is_maker)
        self.trades.append(trade)
        self._tell(order, "TRADE", at_ms, trade)
        return trade

    def cancel(self, order: Placed, at_ms: int) -> None:
        """Take an open order out, and give back what it had set aside.

        Raises
        ------
        Refused
            If it is not open any more.
        """
        if not order.is_open:
            raise Refused(-2011, "Unknown order sent.")
        self._move(order, +1, at_ms)
        order.status, order.updated_ms = CANCELED, at_ms
        self._tell(order, CANCELED, at_ms)

    def _balance(self, asset: str) -> Balance:
        return self.balances.setdefault(asset, Balance())

    def _move(self, order: Placed, direction: int, at_ms: int) -> None:
        asset, amount = order.reserved
        self._remember(at_ms)
        balance = self._balance(asset)
        balance.free += direction * amount
        balance.locked -= direction * amount

    def _remember(self, at_ms: int) -> None:
        kept = {asset: Balance(b.free, b.locked) for asset, b in self.balances.items()}
        self.stale = kept, self.updated_ms
        self.updated_ms = at_ms

    def _tell(self, order: Placed, kind: str, at_ms: int, trade: Trade | None = None) -> None:
        happening = Happening(kind, order, order.status, order.executed, order.paid, at_ms, trade)
        for listener in list(self.listeners):
            listener(happening)
