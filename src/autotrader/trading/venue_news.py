"""What the venue tells between bars, kept until it is its turn, and then believed."""

from __future__ import annotations

from datetime import datetime

from autotrader.domain.errors import BadData, Unreachable
from autotrader.domain.instruments import balances
from autotrader.domain.orders import Fill, OrderStatus
from autotrader.domain.trading import Cause, TradingState
from autotrader.ports.broker import Update
from autotrader.ports.clock import WallClock
from autotrader.ports.trading import Restriction, TradingRecords
from autotrader.trading.accounting import Accounting
from autotrader.trading.breaker import BreakerRules, count_trades
from autotrader.trading.outages import Outages
from autotrader.trading.targets import Targets


class VenueNews:
    """Fills and words about orders, on their way into the book.

    Parameters
    ----------
    accounting : Accounting
    targets : Targets
        Give up what a rejection or a fee in units has made pointless.
    breaker : BreakerRules
        Counts the losses among the trades that fills close.
    outages : Outages
    records : TradingRecords
        Asked for orders that ended before this process began.
    clock : WallClock
    actor : str
    """

    def __init__(
        self,
        accounting: Accounting,
        targets: Targets,
        breaker: BreakerRules,
        outages: Outages,
        records: TradingRecords,
        clock: WallClock,
        *,
        actor: str,
    ) -> None:
        self._accounting = accounting
        self._book = accounting.book
        self._targets = targets
        self._breaker = breaker
        self._outages = outages
        self._records = records
        self._clock = clock
        self._actor = actor
        self._heard: list[Update] = []

    def hear(self, update: Update) -> None:
        """Keep an update until it is its turn; returns at once."""
        self._heard.append(update)

    def take(self, market_now: datetime | None) -> None:
        """Apply what was heard: fills first, since a word about an order counts them.

        Parameters
        ----------
        market_now : datetime or None
            Close of the newest bar; None before the first.
        """
        updates, self._heard = self._heard, []
        for update in sorted(updates, key=lambda update: not isinstance(update, Fill)):
            if isinstance(update, Fill):
                self._take_fill(update)
            else:
                self._book.take_word(update)
        self._accept_rejections()
        if trades := self._book.take_closed():
            state, events = count_trades(
                self._accounting.state,
                trades,
                market_time=market_now or trades[-1].closed_at,
                rules=self._breaker,
                now=self._clock.now(),
                actor=self._actor,
            )
            self._accounting.adopt(state, events)

    def recall(self, client_order_id: str | None) -> bool:
        """Whether it is an order of ours, be it one that ended before this process began.

        What is traded for such a one counts for it.
        """
        if client_order_id is None:
            return False
        if self._book.find(client_order_id) is None:
            try:
                ended = self._records.order(client_order_id)
            except Unreachable as error:
                self._outages.note(Cause.DATABASE, str(error))
                return False
            if ended is None:
                return False
            self._book.remember(ended)
        return True

    def _accept_rejections(self) -> None:
        """What the venue would not open is not asked for again, minute by minute, without a new opinion."""
        for order in self._book.moved.orders.values():
            if order.status is OrderStatus.REJECTED and not order.reduces:
                self._targets.hold(order.instrument, self._book.quantity(order.instrument))

    def _take_fill(self, fill: Fill) -> None:
        self.recall(fill.client_order_id)
        try:
            is_new = self._book.take_fill(fill)
        except BadData as error:
            now = self._clock.now()
            self._accounting.restrict(
                Restriction(Cause.RECONCILIATION, TradingState.REDUCING, str(error), now, self._actor)
            )
            return
        paid_with = balances(self._book.rules).get(fill.fee_currency)
        if is_new and paid_with is not None:
            # Bought anew it would cost another fee, and so on.
            self._targets.give_up(paid_with, fill.fee)
        since = self._accounting.state.fills_since
        if since is None or fill.at > since:
            self._accounting.set(fills_since=fill.at)
