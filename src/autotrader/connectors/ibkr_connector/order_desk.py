"""Places and withdraws orders, and tells what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import structlog

from autotrader.connectors.ibkr_connector import messages, order_messages
from autotrader.connectors.ibkr_connector.executions import Executions
from autotrader.connectors.ibkr_connector.order_book import BookOrder, OrderBook
from autotrader.connectors.ibkr_connector.order_messages import Execution, StatedOrder
from autotrader.connectors.ibkr_connector.order_session import OrderSession
from autotrader.domain.errors import AutotraderError, NotFound, Rejected, Unreachable
from autotrader.domain.orders import Fill, Order, OrderStatus
from autotrader.ports.broker import Update, VenueOrder

log = structlog.get_logger(__name__)

_DUPLICATE_NUMBER = 103
_REJECTED = 201
_CANCELLED = 202
_MESSAGE = 399
_HELD = "will not be placed at the exchange until"
# The order cannot be cancelled (any more), or is not known to the gateway.
_NOT_CANCELLED = frozenset({161, 10_147, 10_148, 10_149})
# Said of orders that go on all the same: odd lots, borrowing under way, ignored attributes.
_REMARKS = frozenset({_MESSAGE, 404, 10_167, 2109, 2137, 10_311, *messages.NOTICES})


class OrderDesk:
    """Hears the gateway for one client id; outlives connections.

    Parameters
    ----------
    account : str
        Our name of the account.
    client_id : int
    commission_seconds : float
    rest_seconds : float
        How long to leave a gateway alone that was sent too much.
    """

    def __init__(
        self, account: str, client_id: int, *, commission_seconds: float, rest_seconds: float
    ) -> None:
        self.book = OrderBook()
        self.executions = Executions(account, self._tell, self.missed, commission_seconds=commission_seconds)
        self.gaps = 0
        self._client_id = client_id
        self._rest_seconds = rest_seconds
        self._session: OrderSession | None = None
        self._numbers: dict[str, int] = {}
        self._resent: set[str] = set()
        self._news: asyncio.Queue[Update] = asyncio.Queue()
        self._told: dict[int, VenueOrder] = {}
        self._answers: dict[int, asyncio.Future[BookOrder]] = {}
        self._withdrawals: dict[int, asyncio.Future[None]] = {}

    @property
    def least_number(self) -> int:
        """Above all that were given to orders: one that is sent again needs its own."""
        return max(self._numbers.values(), default=0) + 1

    def start(self, session: OrderSession, *, again: bool, forget: datetime) -> None:
        """A connection is there: what was known of open orders is read anew."""
        self._session = session
        self.book = OrderBook()
        self._told.clear()
        self.executions.forget(forget)
        self.gaps += again

    def close(self) -> None:
        self.executions.close()

    async def catch_up(self, session: OrderSession) -> None:
        """Ask for all orders and trades that the gateway knows."""
        for stated in [*await session.open_orders(), *await session.completed_orders()]:
            self.book.state(stated)
        for execution in await session.executions():
            self.book.execution(execution)

    async def news(self, lost: asyncio.Future[AutotraderError]) -> AsyncIterator[Update]:
        """Updates until the connection is lost and all that came before has been told."""
        while True:
            if self._news.empty():
                coming = asyncio.ensure_future(self._news.get())
                try:
                    await _first(coming, lost)
                finally:
                    if not coming.done():
                        coming.cancel()
                if not coming.done() or coming.cancelled():
                    return
                yield coming.result()
            else:
                yield self._news.get_nowait()

    async def place(
        self,
        session: OrderSession,
        order: Order,
        con_id: int,
        *,
        outside_rth: bool,
        seconds: float,
    ) -> VenueOrder:
        """Send an order and wait until the venue has it.

        An order that was sent before and is not known to the venue is sent under the number that it
        had: should it be under way all the same, this is a change of it to what it is already.
        """
        sent_before = self._numbers.get(order.client_order_id)
        if sent_before is not None:
            self._resent.add(order.client_order_id)
        number = session.next_number() if sent_before is None else sent_before
        self._numbers[order.client_order_id] = number
        answer: asyncio.Future[BookOrder] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        self._state(order, session.account, number)
        terms = {"lmtPrice": f"{order.limit_price:f}"} if order.limit_price is not None else {}
        try:
            session.place(
                number,
                con_id,
                order.instrument.symbol,
                action=order.side.name,
                totalQuantity=f"{order.quantity:f}",
                orderType="MKT" if order.limit_price is None else "LMT",
                tif="DAY",
                outsideRth=outside_rth,
                orderRef=order.client_order_id,
                **terms,
            )
            await _first(answer, session.lost, seconds=seconds)
            if answer.done():
                return self._taken(answer.result())
            if session.lost.done():
                raise session.lost.result()
            session.require_servers()
            raise Unreachable(
                f"{order.client_order_id}: expected an acknowledgement within {seconds:g} s, was none: "
                "ask for the order before sending it again"
            )
        except ConnectionError as error:
            raise Unreachable(f"{order.client_order_id}: expected a connection, was {error}") from error
        finally:
            self._answers.pop(number, None)

    async def withdraw(self, session: OrderSession, number: int, *, seconds: float) -> None:
        """Ask for an order's cancellation, and wait until the book tells what came of it."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._withdrawals[number] = done
        try:
            session.withdraw(number)
            await _first(done, session.lost, seconds=seconds)
            if session.lost.done():
                raise session.lost.result()
            if not done.done():
                raise Unreachable(f"order {number}: expected its end within {seconds:g} s, was none")
        except ConnectionError as error:
            raise Unreachable(f"order {number}: expected a connection, was {error}") from error
        finally:
            self._withdrawals.pop(number, None)
        order = self.book.numbered(self._client_id, number)
        if order is None or order.ended is None:
            await self.catch_up(session)

    def order_stated(self, stated: StatedOrder) -> None:
        self.book.state(stated)

    def order_status(self, fields: list[str]) -> None:
        self._changed(self.book.status(fields))

    def executed(self, execution: Execution, *, is_news: bool) -> None:
        if is_news:
            self.executions.executed(execution)
        else:
            self.executions.recalled(execution)
        order = self.book.execution(execution)
        if is_news:
            self._changed(order)

    def paid(self, fields: list[str]) -> None:
        if known := order_messages.commission(fields):
            self.executions.paid(*known)

    def servers_back(self) -> None:
        self.gaps += 1

    def missed(self) -> None:
        self.gaps += 1

    def order_error(self, order_id: int, code: int, text: str) -> bool:
        """Take in what is said of an order of ours; False where it is none."""
        order = self.book.numbered(self._client_id, order_id)
        if order is None:
            return False
        if code in _NOT_CANCELLED:
            _resolve(self._withdrawals.get(order_id))
        elif code == _MESSAGE and _HELD in text:
            self._take_back(order, order_id, text)
        elif code in _REMARKS:
            log.info("remark on an order", venue="ibkr", order=order.stated.ref, code=code, text=text)
        elif code == _CANCELLED:
            self.book.end(order, OrderStatus.CANCELLED, order.reason or text)
            self._changed(order)
        elif (answer := self._answers.get(order_id)) is not None and not answer.done():
            self._not_taken(order, answer, code, text)
        elif code == _REJECTED:
            self.book.end(order, OrderStatus.REJECTED, text)
            self._changed(order)
        else:
            log.warning("error of an order", venue="ibkr", order=order.stated.ref, code=code, text=text)
        return True

    def _changed(self, order: BookOrder | None) -> None:
        if order is None or not order.is_there:
            return
        number, known = order.stated.order_id, order.as_venue_order()
        if number is not None and order.stated.client_id == self._client_id:
            answer = self._answers.get(number)
            if answer is not None and not answer.done():
                answer.set_result(order)
            if known.status.is_final:
                _resolve(self._withdrawals.get(number))
        if self._told.get(id(order)) != known:
            self._told[id(order)] = known
            self._news.put_nowait(known)

    def _tell(self, fill: Fill) -> None:
        self._news.put_nowait(fill)

    def _taken(self, order: BookOrder) -> VenueOrder:
        if order.ended is OrderStatus.REJECTED:
            ref = order.stated.ref or ""
            self._numbers.pop(ref, None)
            raise Rejected(f"order {ref}: expected IB to take it, was {order.reason or 'inactive'}")
        return order.as_venue_order()

    def _state(self, order: Order, account: str, number: int) -> None:
        """What we are about to send, until the gateway states it itself."""
        self.book.state(
            StatedOrder(
                order_id=number,
                client_id=self._client_id,
                perm_id=0,
                account=account,
                ref=order.client_order_id,
                instrument=order.instrument,
                side=order.side,
                quantity=order.quantity,
            )
        )

    def _not_taken(self, order: BookOrder, answer: asyncio.Future[BookOrder], code: int, text: str) -> None:
        ref = order.stated.ref or ""
        subject = f"order {ref}"
        if code == _DUPLICATE_NUMBER:
            if ref not in self._resent:
                # Somebody else has used it up under this client id; this order was never taken.
                self._numbers.pop(ref, None)
            error: AutotraderError = Unreachable(
                f"{subject}: expected a new number, was one that IB has had: ask for the order"
            )
        else:
            error = messages.error_of(code, text, subject, rest_seconds=self._rest_seconds)
        if isinstance(error, NotFound):
            error = Rejected(str(error))
        if isinstance(error, Rejected):
            self._numbers.pop(ref, None)
            order.is_there = True
            self.book.end(order, OrderStatus.REJECTED, text)
        answer.set_exception(error)
        if order.is_there:
            self._changed(order)

    def _take_back(self, order: BookOrder, number: int, text: str) -> None:
        log.warning("order taken back", venue="ibkr", order=order.stated.ref, reason=text)
        order.reason = " ".join(text.split())
        if self._session is not None:
            self._session.withdraw(number)


async def _first(*awaited: asyncio.Future[Any], seconds: float | None = None) -> None:
    await asyncio.wait(awaited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)


def _resolve(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
