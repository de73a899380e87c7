"""At which price and when the account's orders are filled: the market's own path decides.

Orders are too small to move it. A market order, and a limit that the market is already past, is
filled at once where the market stands; another limit is filled at its own price when the path comes by.
"""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import polars as pl

from autotrader.apps.exchange.account import Account, Placed
from autotrader.apps.exchange.answers import Refused
from autotrader.apps.exchange.clock import ExchangeClock
from autotrader.apps.exchange.klines import MINUTE, KlineBook, epoch_ms
from autotrader.apps.exchange.minutes import corners, price_at
from autotrader.apps.exchange.symbols import Symbols

_THIRDS = (0.0, 1 / 3, 2 / 3, 1.0)


class Matching:
    """The account's orders against the market.

    Parameters
    ----------
    account : Account
    symbols : Symbols
    book : KlineBook
    clock : ExchangeClock
    """

    def __init__(self, account: Account, symbols: Symbols, book: KlineBook, clock: ExchangeClock) -> None:
        self._account, self._symbols, self._book, self._clock = account, symbols, book, clock
        self._matched_until = clock.now()
        self._said: dict[str, tuple[datetime, Decimal]] = {}
        self._late: list[Placed] = []

    def price(self, symbol: str) -> Decimal:
        """Where the market stands.

        Raises
        ------
        Refused
            If nothing has traded yet.
        """
        now = self._clock.now()
        at, price = self._said.get(symbol, (None, None))
        if price is not None and at == now:
            return price
        bar = self._book.last_traded(symbol, now)
        if bar is None:
            raise Refused(-2010, "Market is closed.")
        row = bar.row(0, named=True)
        elapsed = min(1.0, (now - row["ts"]) / MINUTE)
        tick, _ = self._symbols.grid(symbol)
        price = Decimal(str(float(price_at(row, np.array([elapsed]))[0])))
        return max(tick, (price / tick).to_integral_value(ROUND_HALF_EVEN) * tick)

    def trade(self, symbol: str, price: Decimal) -> None:
        """A trade that the bars do not have: the market stands there until its clock moves on."""
        self.catch_up()
        now = self._clock.now()
        self._said[symbol] = now, price
        for order in self._account.open_orders(symbol):
            if _is_past(order, price):
                self._account.fill(order, order.limit or price, epoch_ms(now), is_maker=True)
        late = [order for order in self._late if order.symbol == symbol]
        self._late = [order for order in self._late if order.symbol != symbol]
        for order in late:
            self._account.fill(order, order.limit or price, epoch_ms(now), is_maker=True)

    def place(
        self, symbol: str, client_id: str, *, is_buy: bool, quantity: Decimal, limit: Decimal | None
    ) -> Placed:
        """Take an order in, and fill it if it can be.

        Raises
        ------
        Refused
            If it fails a filter, bears the id of an open order, or can't be paid.
        """
        self.catch_up()
        price = self.price(symbol)
        at_ms = epoch_ms(self._clock.now())
        self._symbols.check(symbol, quantity, limit or price, at_market=limit is None)
        order = self._account.place(
            symbol, client_id, is_buy=is_buy, quantity=quantity, limit=limit, price=price, at_ms=at_ms
        )
        if limit is None or _is_past(order, price):
            self._account.fill(order, price, at_ms, is_maker=False)
        return order

    def cancel(self, order: Placed, *, too_late: bool) -> None:
        """Take an open order out.

        Parameters
        ----------
        too_late : bool
            It is said to be cancelled, but the next `trade` of its symbol fills it.

        Raises
        ------
        Refused
            If it is not open any more.
        """
        self.catch_up()
        self._account.cancel(order, epoch_ms(self._clock.now()))
        if too_late:
            self._late.append(order)

    def catch_up(self) -> None:
        """Fill what the market's path has reached since the last time."""
        since, now = self._matched_until, self._clock.now()
        self._matched_until = now
        for order in self._account.open_orders() if now > since else []:
            reached = self._reached(order, since, now)
            if reached is not None and order.limit is not None:
                self._account.fill(order, order.limit, epoch_ms(reached), is_maker=True)

    def _reached(self, order: Placed, since: datetime, now: datetime) -> datetime | None:
        """When the path came to the order's limit within (since, now], to a minute; None if it did not."""
        bars = self._book.minutes(order.symbol)
        first = bars["ts"].search_sorted(since - MINUTE, side="right")
        stop = bars["ts"].search_sorted(now, side="left")
        limit = float(order.limit or 0)
        past = pl.col("low") <= limit if order.is_buy else pl.col("high") >= limit
        for row in bars.slice(first, max(0, stop - first)).filter(past).iter_rows(named=True):
            begin = max(0.0, (since - row["ts"]) / MINUTE)
            end = min(1.0, (now - row["ts"]) / MINUTE)
            turns = [price for at, price in zip(_THIRDS, corners(row), strict=True) if begin < at < end]
            path = [*price_at(row, np.array([begin, end])), *turns]
            if min(path) <= limit if order.is_buy else max(path) >= limit:
                closed: datetime = row["ts"] + MINUTE
                return min(now, closed)
        return None


def _is_past(order: Placed, price: Decimal) -> bool:
    """Whether the market stands at the order's limit, or where it is better for us."""
    if order.limit is None:
        return True
    return price <= order.limit if order.is_buy else price >= order.limit
