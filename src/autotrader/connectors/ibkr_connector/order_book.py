"""What the gateway has told of orders, put together: statements, statuses, executions, errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal

from autotrader.connectors.ibkr_connector.order_messages import ENDED, WORKING, Execution, StatedOrder
from autotrader.domain.orders import ZERO, OrderStatus
from autotrader.ports.broker import VenueOrder


@dataclass(slots=True)
class BookOrder:
    """One order, and what is known of it.

    Attributes
    ----------
    is_there : bool
        Whether the venue has it, or has had it; before that it is on its way.
    filled_said : Decimal
        By statuses; executions may be ahead of them, and they of executions.
    """

    stated: StatedOrder
    is_there: bool = False
    ended: OrderStatus | None = None
    filled_said: Decimal = ZERO
    reason: str = ""
    executed: dict[str, Decimal] = field(default_factory=dict)

    def as_venue_order(self) -> VenueOrder:
        stated = self.stated
        filled = max(self.filled_said, sum(self.executed.values(), ZERO))
        status = self.ended or OrderStatus.OPEN
        if filled >= stated.quantity or status is OrderStatus.FILLED:
            status, filled = OrderStatus.FILLED, max(filled, stated.quantity)
        return VenueOrder(
            venue_order_id=str(stated.perm_id),
            client_order_id=stated.ref,
            instrument=stated.instrument,
            side=stated.side,
            quantity=stated.quantity,
            filled=filled,
            status=status,
            reason=self.reason if status in {OrderStatus.CANCELLED, OrderStatus.REJECTED} else "",
        )


class OrderBook:
    """Orders by the venue's number, and by client and the client's number."""

    def __init__(self) -> None:
        self._by_perm_id: dict[int, BookOrder] = {}
        self._by_number: dict[tuple[int, int], BookOrder] = {}

    def state(self, stated: StatedOrder) -> BookOrder:
        """Take in what a message states of an order."""
        order = self._by_perm_id.get(stated.perm_id) or self.numbered(stated.client_id, stated.order_id)
        if order is None:
            order = BookOrder(stated)
        elif stated.order_id is not None:
            order.stated = stated
        if stated.perm_id:
            self._by_perm_id[stated.perm_id] = order
        if stated.client_id is not None and stated.order_id is not None:
            self._by_number[stated.client_id, stated.order_id] = order
        if stated.ended is not None:
            order.is_there = True
            order.ended, order.reason = stated.ended, order.reason or stated.reason
            order.filled_said = max(order.filled_said, stated.filled or ZERO)
        return order

    def status(self, fields: list[str]) -> BookOrder | None:
        """Take in an order-status message; None where nothing has stated the order."""
        status, filled, perm_id = fields[2], Decimal(fields[3] or "0"), int(fields[6] or 0)
        order = self._by_perm_id.get(perm_id) or self.numbered(int(fields[9] or 0), int(fields[1]))
        if order is None:
            return None
        if perm_id and not order.stated.perm_id:
            order.stated = replace(order.stated, perm_id=perm_id)
            self._by_perm_id[perm_id] = order
        order.filled_said = max(order.filled_said, filled)
        if status in WORKING:
            order.is_there = True
        elif status in ENDED:
            order.is_there = True
            order.ended = ENDED[status]
            order.reason = order.reason or fields[10]
        return order

    def execution(self, execution: Execution) -> BookOrder | None:
        """Count a trade in; one that is counted already, or corrected, counts once."""
        order = self._by_perm_id.get(execution.perm_id)
        if order is not None:
            order.is_there = True
            order.executed[execution.trade] = execution.quantity
        return order

    def end(self, order: BookOrder, status: OrderStatus, reason: str) -> None:
        order.ended, order.reason = status, reason

    def numbered(self, client_id: int | None, order_id: int | None) -> BookOrder | None:
        if client_id is None or order_id is None:
            return None
        return self._by_number.get((client_id, order_id))

    def of(self, ref: str) -> BookOrder | None:
        """The order that bears our id; one that was refused only where there is no other."""
        found = [order for order in self if order.stated.ref == ref]
        return next((o for o in found if o.ended is not OrderStatus.REJECTED), found[-1] if found else None)

    def __iter__(self) -> Iterator[BookOrder]:
        orders = [*self._by_perm_id.values(), *self._by_number.values()]
        return iter({id(order): order for order in orders}.values())
