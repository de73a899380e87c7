"""The one way from a recorded order to a venue, and from doubt about it to certainty."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from autotrader import tracing
from autotrader.domain.errors import Rejected, Throttled, Unreachable
from autotrader.domain.orders import Order, OrderStatus
from autotrader.ports.broker import Broker
from autotrader.ports.clock import WallClock
from autotrader.ports.trading import DeadLetter
from autotrader.trading.book import Book
from autotrader.trading.broker_calls import BrokerCalls
from autotrader.trading.lease_keeping import LeaseKeeper

log = structlog.get_logger(__name__)

ATTEMPTS = 4  # of handing one order over
FIRST_PAUSE_SECONDS = 0.5
ASKED_AT_ONCE = 8  # orders whose fate is asked for side by side
_DOUBTFUL = (OrderStatus.RECORDED, OrderStatus.SENT)


@dataclass
class Doubt:
    """How often an order was handed over, when for the last time, and when the venue was asked for it.

    Monotonic seconds. `handed_over` is the latest that it can have left us.
    """

    attempts: int = 0
    handed_over: float = 0.0
    asked: float = 0.0
    due: float = 0.0


class OrderDesk:
    """Hands over what is recorded; nothing else calls `Broker.submit`.

    An order whose fate is unknown is asked for, never sent again before the venue has said that it
    does not have it, at a time when it cannot get it any more, and then under the same id.

    Parameters
    ----------
    broker : Broker
    book : Book
        Its orders have been written before they are given to `send`.
    keeper : LeaseKeeper
    calls : BrokerCalls
    clock : WallClock
    longest_send_seconds : float
        A venue that does not have an order after so long will not get it any more.
    """

    def __init__(
        self,
        broker: Broker,
        book: Book,
        keeper: LeaseKeeper,
        calls: BrokerCalls,
        clock: WallClock,
        *,
        longest_send_seconds: float,
    ) -> None:
        self._broker = broker
        self._book = book
        self._keeper = keeper
        self._calls = calls
        self._clock = clock
        self._longest_send = longest_send_seconds
        self._doubts: dict[str, Doubt] = {}
        self._is_closed = False
        self.dead_letters: list[DeadLetter] = []

    @property
    def doubtful(self) -> Sequence[Order]:
        """Orders of which nobody knows whether the venue has them."""
        return [order for order in self._book.working.values() if order.status in _DOUBTFUL]

    def close(self) -> None:
        """Hand over nothing from now on."""
        self._is_closed = True

    async def send(self, order: Order, market_now: datetime) -> None:
        """Hand an order over; whatever happens is in the book afterwards.

        After `close` it ends instead, as one that has never been at the venue.

        Raises
        ------
        Refused
            If the lease is not held: nothing was sent.
        """
        self._keeper.require()
        doubt = self._doubts.setdefault(order.client_order_id, Doubt(handed_over=self._clock.monotonic()))
        if self._is_closed and not doubt.attempts:
            self._doubts.pop(order.client_order_id)
            self._book.add(order.moved(OrderStatus.EXPIRED, reason="never sent: the trader stops"))
            return
        if market_now > order.valid_until:
            self._give_up(order, doubt, f"not sent before {order.valid_until:%H:%M:%S}")
            return
        doubt.attempts += 1
        doubt.handed_over = self._clock.monotonic()
        try:
            with tracing.span("order", order_id=order.client_order_id, instrument=str(order.instrument)):
                word = await self._calls(f"order {order.client_order_id}", lambda: self._broker.submit(order))
        except Throttled as error:
            doubt.due = self._clock.monotonic() + error.retry_after_seconds
            log.warning("order held back", order=order.client_order_id, reason=str(error))
        except Rejected as error:
            self._doubts.pop(order.client_order_id, None)
            self._book.add(self._current(order).moved(OrderStatus.REJECTED, reason=str(error)))
        except Unreachable as error:
            # A broker may ask before it sends: the order can have left as late as now.
            doubt.handed_over = self._clock.monotonic()
            doubt.due = doubt.handed_over + FIRST_PAUSE_SECONDS * 2 ** (doubt.attempts - 1)
            self._book.add(self._current(order).moved(OrderStatus.SENT))
            log.warning("order in doubt", order=order.client_order_id, reason=str(error))
        else:
            self._doubts.pop(order.client_order_id, None)
            self._book.add(self._current(order).moved(OrderStatus.OPEN, venue_order_id=word.venue_order_id))
            self._book.take_word(word)

    async def send_all(self, orders: Sequence[Order], market_now: datetime) -> None:
        """`send` each, side by side: none waits for what the venue says of another.

        Raises
        ------
        Refused
            If the lease is not held, once all have come to their end.
        """
        await _all_of(self.send(order, market_now) for order in orders)

    async def resolve(self, market_now: datetime, objection: Callable[[Order], str]) -> None:
        """Ask for every order in doubt that is due, and send again what the venue will not get any more.

        After `close` nobody is asked: what is in doubt then is for `cancel`, or for the next owner.

        Parameters
        ----------
        objection : Callable
            Why an order may not be sent any more; empty where it may.

        Raises
        ------
        Refused
            If the lease is not held, once all have come to their end.
        """

        async def settle(order: Order, doubt: Doubt) -> None:
            if not await self._is_missing(order, doubt):
                return
            why_not = objection(order)
            if self._is_closed or why_not or market_now > order.valid_until or doubt.attempts >= ATTEMPTS:
                self._give_up_in_time(order, doubt, why_not)
            elif order.status is OrderStatus.SENT and not self._is_certain(doubt):
                doubt.due = self._certain_at(doubt)
            else:
                await self.send(order, market_now)

        now = self._clock.monotonic()
        await self._side_by_side(settle, [o for o in self.doubtful if now >= self._doubt(o).due])

    async def ask(self) -> None:
        """Ask for every order in doubt, due or not; nothing is sent."""
        await self._side_by_side(self._is_missing, self.doubtful)

    async def _side_by_side(
        self, act: Callable[[Order, Doubt], Awaitable[object]], orders: Sequence[Order]
    ) -> None:
        """At orders in doubt, some at a time; those whose turn comes after `close` are left."""
        turns = asyncio.Semaphore(ASKED_AT_ONCE)

        async def one(order: Order) -> None:
            async with turns:
                if not self._is_closed:
                    await act(order, self._doubt(order))

        await _all_of(one(order) for order in orders)

    async def cancel(self, order: Order) -> bool:
        """Take an order back; True once it is certain that nothing more will be traded for it.

        An order in doubt is asked for first; it ends where the venue will not get it any more.
        """
        if order.status in _DOUBTFUL:
            doubt = self._doubt(order)
            if await self._is_missing(order, doubt):
                self._give_up_in_time(order, doubt, "")
            order = self._current(order)
            if order.status in _DOUBTFUL or order.status.is_final:
                return order.status.is_final
        try:
            word = await self._calls(f"cancel {order.client_order_id}", lambda: self._broker.cancel(order))
        except (Unreachable, Rejected) as error:
            log.warning("order not cancelled", order=order.client_order_id, reason=str(error))
            return False
        if word is None:
            self._book.add(
                self._current(order).moved(OrderStatus.CANCELLED, reason="the venue has no such order")
            )
        else:
            self._book.take_word(word)
        return self._current(order).status.is_final

    def _doubt(self, order: Order) -> Doubt:
        """One that another process handed over was handed over before now."""
        return self._doubts.setdefault(
            order.client_order_id, Doubt(attempts=1, handed_over=self._clock.monotonic())
        )

    async def _is_missing(self, order: Order, doubt: Doubt) -> bool:
        """Whether the venue is sure that it does not have the order; what it says of one is believed."""
        doubt.asked = self._clock.monotonic()
        try:
            word = await self._calls(f"fate of {order.client_order_id}", lambda: self._broker.order(order))
        except (Unreachable, Rejected) as error:
            doubt.due = self._clock.monotonic() + FIRST_PAUSE_SECONDS * 2 ** min(doubt.attempts, 6)
            log.warning("order still in doubt", order=order.client_order_id, reason=str(error))
            return False
        if word is None:
            return True
        self._doubts.pop(order.client_order_id, None)
        self._book.add(self._current(order).moved(OrderStatus.OPEN, venue_order_id=word.venue_order_id))
        self._book.take_word(word)
        return False

    def _give_up_in_time(self, order: Order, doubt: Doubt, why_not: str) -> None:
        """End an order that the venue does not have, once it cannot get it any more."""
        if self._is_certain(doubt):
            reason = why_not or f"the venue has not got it after {doubt.attempts} tries"
            self._give_up(order, doubt, reason)
        else:
            doubt.due = self._certain_at(doubt)

    def _certain_at(self, doubt: Doubt) -> float:
        """From when on a venue that says that it has no such order will not get it any more."""
        return doubt.handed_over + self._longest_send

    def _is_certain(self, doubt: Doubt) -> bool:
        """By what the venue said last, of the time when it was asked."""
        return doubt.asked >= self._certain_at(doubt)

    def _give_up(self, order: Order, doubt: Doubt, reason: str) -> None:
        self._doubts.pop(order.client_order_id, None)
        self._book.add(self._current(order).moved(OrderStatus.EXPIRED, reason=reason))
        self.dead_letters.append(
            DeadLetter(order.account, order.client_order_id, self._clock.now(), doubt.attempts, reason)
        )

    def _current(self, order: Order) -> Order:
        return self._book.find(order.client_order_id) or order


async def _all_of(doing: Iterable[Awaitable[object]]) -> None:
    """Side by side, each to its end; then the first error is raised."""
    for end in await asyncio.gather(*doing, return_exceptions=True):
        if isinstance(end, BaseException):
            raise end
