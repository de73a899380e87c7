"""An account at a venue: what is in it, and orders."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from autotrader.domain.instruments import InstrumentId, InstrumentRules, Venue
from autotrader.domain.orders import Fill, Order, OrderStatus, Side


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """An order as the venue knows it.

    Attributes
    ----------
    client_order_id : str or None
        None where somebody made it otherwise than through us.
    status : OrderStatus
        OPEN or a final one, EXPIRED apart (a venue's "expired" is CANCELLED).
    filled : Decimal
    reason : str
        The venue's words, where it gave any.
    """

    venue_order_id: str
    client_order_id: str | None
    instrument: InstrumentId
    side: Side
    quantity: Decimal
    filled: Decimal
    status: OrderStatus
    reason: str = ""


@dataclass(frozen=True, slots=True)
class VenueAccount:
    """What the venue says is in the account.

    Attributes
    ----------
    cash : Mapping[str, Decimal]
        By currency; what is reserved for open orders counts.
    positions : Mapping[InstrumentId, Decimal]
        Signed units, of the instruments that were asked for; none is absent or zero.
    at : datetime
        When the venue says that this was so, UTC; wall time of arrival where it says nothing.
    """

    cash: Mapping[str, Decimal]
    positions: Mapping[InstrumentId, Decimal]
    at: datetime


Update = Fill | VenueOrder


@runtime_checkable
class Broker(Protocol):
    """One account at one venue. Used as an async context manager by whoever holds its lease.

    Every method raises
    Throttled
        If the venue asks for patience; what was asked for has not been done.
    Unreachable
        If there was no usable answer. Of `submit` and `cancel`: it may have been done all the same.
    Rejected
        If the venue understood and said no; it has not been done.
    """

    venue: Venue

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    async def rules(self, instruments: Sequence[InstrumentId]) -> Mapping[InstrumentId, InstrumentRules]:
        """What the venue demands of orders; also raises NotFound for an instrument it does not have."""
        ...

    async def account(self, instruments: Sequence[InstrumentId]) -> VenueAccount: ...

    async def open_orders(self) -> Sequence[VenueOrder]:
        """All that work in the account, also those that others made."""
        ...

    async def order(self, order: Order) -> VenueOrder | None:
        """The order by its client id; None only where the venue is sure that it has none."""
        ...

    async def fills(self, instruments: Sequence[InstrumentId], since: datetime) -> Sequence[Fill]:
        """Trades of the account from `since` (venue's clock) on, oldest first; repeats are no error."""
        ...

    async def submit(self, order: Order) -> VenueOrder:
        """Hand over an order; the same client id again makes no second one."""
        ...

    async def cancel(self, order: Order) -> VenueOrder | None:
        """Cancel it, and say what it has become; None where the venue has none."""
        ...

    def updates(self) -> AsyncIterator[Update]:
        """Fills and states as they come, for as long as the broker is open.

        Reconnects by itself; what a gap may have hidden is found by the caller's reconciliation,
        which `gaps` tells to run.
        """
        ...

    @property
    def gaps(self) -> int:
        """How often `updates` may have missed something; grows with each reconnection."""
        ...

    async def keep_alive(self, seconds: float) -> bool:
        """Re-arm the venue's dead man's switch: open orders go when it is not called again in time.

        False where the venue has none. It never removes orders that only reduce a position, where
        the venue can tell them apart.
        """
        ...


class Brokers(Protocol):
    """Opens an account at a venue; whoever asked uses it as an async context manager.

    `account` is our name of it, which its fills bear.
    """

    def __call__(self, venue: Venue, account: str) -> OpenBroker: ...


class OpenBroker(Broker, Protocol):
    """A broker with its beginning and its end."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
