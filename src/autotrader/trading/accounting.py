"""The account's durable state: collected while a step goes on, written whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from autotrader.domain.orders import Fill, OrderStatus
from autotrader.domain.trading import Cause
from autotrader.ports.clock import WallClock
from autotrader.ports.events import Event, EventType
from autotrader.ports.trading import (
    AccountState,
    Change,
    Control,
    DeadLetter,
    EquityPoint,
    Recovery,
    Restriction,
    Signal,
    TradingRecords,
)
from autotrader.trading.book import Book, Moved
from autotrader.trading.lease_keeping import LeaseKeeper
from autotrader.trading.restrictions import lift, restrict


class Accounting:
    """State, and what is to be written with it.

    Parameters
    ----------
    records : TradingRecords
    keeper : LeaseKeeper
        Holds the lease under which everything is written.
    book : Book
    state : AccountState
        As it was read.
    clock : WallClock
    actor : str
        The process, in events.
    """

    def __init__(
        self,
        records: TradingRecords,
        keeper: LeaseKeeper,
        book: Book,
        state: AccountState,
        clock: WallClock,
        *,
        actor: str,
    ) -> None:
        self.book = book
        self.state = state
        self._records = records
        self._keeper = keeper
        self._clock = clock
        self._actor = actor
        self._signals: list[Signal] = []
        self._equity: list[EquityPoint] = []
        self._events: list[Event] = []
        self._recoveries: list[Recovery] = []
        self._answered: list[Control] = []
        self._dead_letters: list[DeadLetter] = []
        self._unwritten = Moved()
        self.is_urgent = False

    def set(self, **fields: Any) -> None:
        """Change fields of the state."""
        self.state = replace(self.state, **fields)

    def restrict(self, restriction: Restriction) -> None:
        self._take(*restrict(self.state, restriction))

    def lift(self, cause: Cause, reason: str, *, actor: str | None = None) -> None:
        at = self._clock.now()
        self._take(*lift(self.state, cause, reason=reason, actor=actor or self._actor, at=at))

    def adopt(self, state: AccountState, events: Iterable[Event] = ()) -> None:
        """Take over a state that a rule has made of the present one."""
        self._take(state, tuple(events))

    def tell(self, *events: Event) -> None:
        self._events.extend(events)

    def add_signal(self, signal: Signal) -> None:
        self._signals.append(signal)

    def add_equity(self, point: EquityPoint) -> None:
        self._equity.append(point)

    def add_recovery(self, recovery: Recovery) -> None:
        self._recoveries.append(recovery)
        self.is_urgent = True

    def answer(self, control: Control, text: str) -> None:
        self._answered.append(replace(control, answered_at=self._clock.now(), answer=text))
        self.is_urgent = True

    def bury(self, letters: list[DeadLetter]) -> None:
        """Take over dead letters, emptying the list."""
        self._dead_letters.extend(letters)
        letters.clear()

    @property
    def must_be_written(self) -> bool:
        """Whether waiting for the next occasion could lose more than what can be derived again."""
        return self.is_urgent or bool(self.book.moved) or bool(self._unwritten) or bool(self._dead_letters)

    def write(self) -> None:
        """Make everything durable in one transaction.

        Raises
        ------
        Unreachable
            If the database does not answer: all is kept, and written next time.
        Refused
            If the lease is lost, or somebody else wrote: this process must trade no more.
        """
        self._collect()
        moved, now = self._unwritten, self._clock.now()
        state = replace(self.state, cash=dict(self.book.holdings.cash), heartbeat_at=now)
        change = Change(
            state=state,
            orders=tuple(moved.orders.values()),
            fills=tuple(moved.fills),
            positions=tuple(self.book.holdings.position(i) for i in sorted(moved.instruments)),
            trades=tuple(moved.trades),
            equity=tuple(self._equity),
            signals=tuple(self._signals),
            recoveries=tuple(self._recoveries),
            dead_letters=tuple(self._dead_letters),
            answered=tuple(self._answered),
            events=(*self._events, *self._events_of(moved)),
        )
        self._records.write(self._keeper.lease, change)
        self.state = replace(state, revision=state.revision + 1)
        self._unwritten = Moved()
        for written in (
            self._equity,
            self._signals,
            self._recoveries,
            self._dead_letters,
            self._answered,
            self._events,
        ):
            written.clear()
        self.is_urgent = False

    def _take(self, state: AccountState, events: tuple[Event, ...]) -> None:
        self.is_urgent = self.is_urgent or bool(events)
        self.state = state
        self._events.extend(events)

    def _collect(self) -> None:
        moved = self.book.take_moved()
        self._unwritten.orders.update(moved.orders)
        self._unwritten.fills.extend(moved.fills)
        self._unwritten.trades.extend(moved.trades)
        self._unwritten.instruments |= moved.instruments

    def _events_of(self, moved: Moved) -> Iterable[Event]:
        """One for each new state of an order, and for each fill."""
        at = self._clock.now()
        for order in moved.orders.values():
            yield Event(
                key=f"order-{order.client_order_id}-{order.status.value}",
                type=EventType.ORDER,
                severity="warning" if order.status in _BAD else "info",
                message=(
                    f"{order.side.value} {order.quantity} {order.instrument} is {order.status.value}: "
                    f"{order.reason}"
                ),
                actor=self._actor,
                at=at,
                instrument=str(order.instrument),
                data={"client_order_id": order.client_order_id, "filled": str(order.filled)},
            )
        for fill in moved.fills:
            yield Event(
                key=f"fill-{fill.account}-{fill.instrument}-{fill.fill_id}",
                type=EventType.TRADE,
                severity="info",
                message=_in_words(fill),
                actor=self._actor,
                at=at,
                instrument=str(fill.instrument),
                data={"fill_id": fill.fill_id, "fee": str(fill.fee), "fee_currency": fill.fee_currency},
            )


def _in_words(fill: Fill) -> str:
    if not fill.quantity:
        return f"{fill.instrument} cost {fill.fee} {fill.fee_currency} beside its trades"
    return f"{fill.side.value} {fill.quantity} {fill.instrument} at {fill.price}"


_BAD = frozenset({OrderStatus.REJECTED, OrderStatus.EXPIRED, OrderStatus.SENT})
