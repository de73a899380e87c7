"""From what is wanted to orders within limits: the one place where orders are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from autotrader.domain.instruments import InstrumentId
from autotrader.domain.orders import ZERO, Order, OrderType, Side, client_order_id, to_step, to_tick
from autotrader.domain.positions import ONE
from autotrader.trading.book import Book
from autotrader.trading.exposures import RiskView
from autotrader.trading.limits import RiskLimits, judge, largest_allowed

_HALF = Decimal("0.5")


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of a wish.

    Attributes
    ----------
    order : Order or None
    reason : str
        Of the order, or why there is none.
    is_refused : bool
        Whether a limit forbade it.
    """

    order: Order | None
    reason: str
    is_refused: bool = False


AS_WANTED = Decision(None, "as wanted")


class Deciding:
    """Makes orders for one strategy on one account.

    Parameters
    ----------
    book : Book
    limits : RiskLimits
    strategy_id : str
    validity : timedelta
        Market time within which an order is sent, or not at all.
    """

    def __init__(self, book: Book, limits: RiskLimits, *, strategy_id: str, validity: timedelta) -> None:
        self._book = book
        self._limits = limits
        self._strategy_id = strategy_id
        self._validity = validity

    def is_too_old(self, decided_at: datetime, now: datetime) -> bool:
        """Whether an order decided then may be sent no more; market time."""
        return now > decided_at + self._validity

    def difference(self, instrument: InstrumentId, units: Decimal) -> Decimal:
        """Signed units, in whole lots, that an order towards these units would trade; zero for none.

        What is less than a lot can be neither bought nor sold; a turn goes through flat.
        """
        lot = self._book.rules[instrument].lot
        held = to_step(self._book.quantity(instrument), lot)
        wanted = ZERO if held * units < 0 else units
        return to_step(wanted - held - self._book.pending(instrument), lot)

    def towards(
        self,
        instrument: InstrumentId,
        units: Decimal,
        view: RiskView,
        *,
        now: datetime,
        wall: datetime,
        why: str,
    ) -> Decision:
        """An order that brings the position to these units, or as near as limits allow.

        It is a limit order half the price band beyond the last price: it fills at once, and never at
        a price that nobody looked at.
        """
        delta = self.difference(instrument, units)
        if not delta:
            return AS_WANTED
        rules, price = self._book.rules[instrument], self._book.prices[instrument]
        held = to_step(self._book.quantity(instrument), rules.lot)
        side = Side.of(delta)
        beyond = price * (1 + side.sign * self._limits.price_band * _HALF)
        order = self._order(
            instrument, side, abs(delta), now=now, wall=wall, why=why, limit=to_tick(beyond, rules.tick)
        )
        order = replace(order, reduces=held * side.sign < 0)
        allowed = largest_allowed(order, view, self._limits, rules)
        if not allowed:
            verdict = judge(order, view, self._limits, rules)
            return Decision(None, verdict.reason, is_refused=True)
        return Decision(replace(order, quantity=allowed), why)

    def flatten(self, view: RiskView, *, now: datetime, wall: datetime, why: str) -> Sequence[Decision]:
        """Market orders that end every position; what works is to be cancelled before."""
        decisions = []
        for instrument in sorted(self._book.holdings.positions):
            rules = self._book.rules.get(instrument)
            if rules is None:
                continue
            units = to_step(self._book.quantity(instrument), rules.lot)
            if not units:
                continue
            order = self._order(
                instrument, Side.of(-units), abs(units), now=now, wall=wall, why=why, purpose="flatten"
            )
            order = replace(order, reduces=True)
            # What still works may take a part of it: the rest is ended next bar.
            allowed = largest_allowed(order, view, self._limits, rules, flattening=True)
            if allowed:
                order = replace(order, quantity=allowed)
                decisions.append(Decision(order, why))
                view = view.with_order(order)
            else:
                verdict = judge(order, view, self._limits, rules, flattening=True)
                decisions.append(Decision(None, verdict.reason, is_refused=True))
        return decisions

    def _order(
        self,
        instrument: InstrumentId,
        side: Side,
        quantity: Decimal,
        *,
        now: datetime,
        wall: datetime,
        why: str,
        limit: Decimal | None = None,
        purpose: str = "target",
    ) -> Order:
        account = self._book.account
        return Order(
            account=account,
            client_order_id=client_order_id(account, self._strategy_id, instrument, now, purpose),
            strategy_id=self._strategy_id,
            instrument=instrument,
            side=side,
            quantity=quantity,
            type=OrderType.MARKET if limit is None else OrderType.LIMIT,
            limit_price=limit,
            reference_price=self._reference(instrument),
            reduces=False,
            decided_at=now,
            valid_until=now + self._validity,
            recorded_at=wall,
            reason=why,
        )

    def _reference(self, instrument: InstrumentId) -> Decimal:
        """The last price; where none is known yet, what the position was bought for."""
        known = self._book.prices.get(instrument)
        return known or self._book.holdings.position(instrument).average_price or ONE
