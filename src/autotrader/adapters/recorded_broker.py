"""A venue that does again what it did: recorded fills, rejections and cancellations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import Self

from autotrader.domain.errors import NotFound, Rejected
from autotrader.domain.instruments import InstrumentId, InstrumentRules, Venue, balance_currency
from autotrader.domain.orders import Fill, Order, OrderStatus
from autotrader.domain.positions import Holdings
from autotrader.ports.broker import Update, VenueAccount, VenueOrder
from autotrader.ports.clock import WallClock
from autotrader.trading.bars import Batch

_NEVER_THERE = frozenset({OrderStatus.REJECTED, OrderStatus.EXPIRED})


class RecordedBroker:
    """One account, moved by `take`. Used as an async context manager.

    An order is known again by its client id, which is made of what was decided.

    Parameters
    ----------
    venue : Venue
    rules : Mapping of InstrumentId to InstrumentRules
    holdings : Holdings
        With which it begins; none of `fills` is in it.
    orders : iterable of Order
        As they ended.
    fills : iterable of Fill
        Each is heard before the first bars that close after it; those of an order not before it
        was submitted, and not after it was taken back.
    clock : WallClock

    Attributes
    ----------
    submitted : list of Order
        All that were handed over, known or not, in this order.
    """

    def __init__(
        self,
        venue: Venue,
        *,
        rules: Mapping[InstrumentId, InstrumentRules],
        holdings: Holdings,
        orders: Iterable[Order],
        fills: Iterable[Fill],
        clock: WallClock,
    ) -> None:
        self.venue = venue
        self.submitted: list[Order] = []
        self._rules = dict(rules)
        self._holdings = holdings
        self._recorded = {order.client_order_id: order for order in orders}
        self._coming = sorted(fills, key=lambda fill: (fill.at, str(fill.instrument), fill.fill_id))
        self._clock = clock
        self._words: dict[str, VenueOrder] = {}
        self._told: list[Fill] = []
        self._newest: Batch | None = None
        self._updates: asyncio.Queue[Update] = asyncio.Queue()
        self._is_listened_to = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    @property
    def gaps(self) -> int:
        return 0

    # ------------------------------------------------------------------------------ the market

    async def take(self, batch: Batch) -> None:
        """Tell of what was filled before these bars closed; returns when it was heard."""
        self._newest = batch
        await self._tell(
            [fill for fill in self._coming if fill.at < batch.closed_at and self._may_come(fill)]
        )

    def _may_come(self, fill: Fill) -> bool:
        """An order of the recording has no fills before it was handed over again."""
        return fill.client_order_id not in self._recorded or fill.client_order_id in self._words

    async def _tell(self, fills: Sequence[Fill]) -> None:
        for fill in fills:
            rules = self._rules[fill.instrument]
            self._coming.remove(fill)
            self._told.append(fill)
            self._holdings, _ = self._holdings.after(
                fill,
                currency=rules.currency,
                base_currency=balance_currency(fill.instrument, rules),
            )
            self._updates.put_nowait(fill)
            word = self._words.get(fill.client_order_id or "")
            if word is not None:
                filled = word.filled + fill.quantity
                status = OrderStatus.FILLED if filled >= word.quantity else word.status
                self._words[fill.client_order_id or ""] = replace(word, filled=filled, status=status)
        if self._is_listened_to:
            await self._updates.join()

    # ------------------------------------------------------------------------------ the broker

    async def rules(self, instruments: Sequence[InstrumentId]) -> Mapping[InstrumentId, InstrumentRules]:
        if unknown := [str(i) for i in instruments if i not in self._rules]:
            raise NotFound(f"expected instruments of the recording, were {', '.join(unknown)}")
        return {instrument: self._rules[instrument] for instrument in instruments}

    async def account(self, instruments: Sequence[InstrumentId]) -> VenueAccount:
        quantities = {i: self._holdings.position(i).quantity for i in instruments}
        return VenueAccount(
            cash=dict(self._holdings.cash),
            positions={i: quantity for i, quantity in quantities.items() if quantity},
            at=self._clock.now(),
        )

    async def open_orders(self) -> Sequence[VenueOrder]:
        return [word for word in self._words.values() if not word.status.is_final]

    async def order(self, order: Order) -> VenueOrder | None:
        return self._words.get(order.client_order_id)

    async def fills(self, instruments: Sequence[InstrumentId], since: datetime) -> Sequence[Fill]:
        return [fill for fill in self._told if fill.instrument in instruments and fill.at >= since]

    async def submit(self, order: Order) -> VenueOrder:
        """Take an order that was taken then; one that was not, or was never sent, is rejected."""
        self.submitted.append(order)
        recorded = self._recorded.get(order.client_order_id)
        if recorded is None:
            raise Rejected(f"expected an order that was recorded, was {order.client_order_id}")
        if recorded.status in _NEVER_THERE and not recorded.filled:
            raise Rejected(recorded.reason)
        word = VenueOrder(
            venue_order_id=recorded.venue_order_id or f"recorded-{order.client_order_id}",
            client_order_id=order.client_order_id,
            instrument=order.instrument,
            side=order.side,
            quantity=order.quantity,
            filled=order.filled,
            status=OrderStatus.OPEN,
        )
        return self._words.setdefault(order.client_order_id, word)

    async def cancel(self, order: Order) -> VenueOrder | None:
        """Take an order back as it was taken back then: with all that it had got by the end.

        One that got something after the next bar had closed went on working: so it does here.
        """
        client_id = order.client_order_id
        if client_id not in self._words:
            return None
        left = [fill for fill in self._coming if fill.client_order_id == client_id]
        if self._newest is not None:
            next_close = self._newest.closed_at + (self._newest.closed_at - self._newest.ts)
            if any(fill.at >= next_close for fill in left):
                return self._words[client_id]
        await self._tell(left)
        word = self._words[client_id]
        if not word.status.is_final:
            word = replace(word, status=OrderStatus.CANCELLED, reason=self._recorded[client_id].reason)
            self._words[client_id] = word
        return word

    async def updates(self) -> AsyncIterator[Update]:
        self._is_listened_to = True
        try:
            while True:
                yield await self._updates.get()
                self._updates.task_done()
        finally:
            self._is_listened_to = False

    async def keep_alive(self, seconds: float) -> bool:  # noqa: ARG002 - the port's
        """False: what works here is over when the recording is."""
        return False
