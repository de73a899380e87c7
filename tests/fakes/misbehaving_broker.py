"""A venue that misbehaves as it is told to: whatever broker is behind it, its answers can be lost."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import TracebackType
from typing import Self, TypeVar, cast

from autotrader.domain.errors import Rejected, Throttled, Unreachable
from autotrader.domain.instruments import InstrumentId, InstrumentRules
from autotrader.domain.orders import Fill, Order, OrderStatus
from autotrader.ports.broker import Broker, Update, VenueAccount, VenueOrder

T = TypeVar("T")
RETRY_AFTER_SECONDS = 0.5


class Fault(StrEnum):
    """What goes wrong; of a call that it has no meaning for, nothing does.

    NEVER_ARRIVED   the call is lost on its way, and not done
    LOST_ANSWER     it is done, and the answer lost
    SILENT          it is done, and the answer does not come in time
    THROTTLED       a plea for patience; it is not done
    REJECTED        a submission is refused
    STALE_ACCOUNT   the account is the one of the answer before
    LATE_FILL       a cancellation is confirmed, and what is filled afterwards is filled
    DUPLICATE_FILL  the updates tell a fill twice
    DROPPED_FILL    the updates do not tell a fill, and `gaps` grows
    """

    NEVER_ARRIVED = "never_arrived"
    LOST_ANSWER = "lost_answer"
    SILENT = "silent"
    THROTTLED = "throttled"
    REJECTED = "rejected"
    STALE_ACCOUNT = "stale_account"
    LATE_FILL = "late_fill"
    DUPLICATE_FILL = "duplicate_fill"
    DROPPED_FILL = "dropped_fill"


# Asked at every call, by its name and the client id that it is about, and at every fill that is told, by
# `fill` and the fill's id: what goes wrong with it.
Script = Callable[[str, str], Fault | None]


def in_order(faults: Mapping[int, Fault]) -> Script:
    """Faults by the number of the call, fills counted with them."""
    asked = Counter[str]()

    def script(_: str, __: str) -> Fault | None:
        asked["calls"] += 1
        return faults.get(asked["calls"] - 1)

    return script


def by_name(seed: int, share: float, faults: Mapping[str, Sequence[Fault]]) -> Script:
    """A share of orders and fills has a fault of its own, whenever it is asked for: also after a restart.

    Parameters
    ----------
    faults : Mapping
        The faults that each call may have.
    """

    def script(call: str, name: str) -> Fault | None:
        possible = faults.get(call)
        if not possible:
            return None
        chance = random.Random(f"{seed} {call} {name}")
        return chance.choice(possible) if chance.random() < share else None

    return script


@dataclass
class Afterlife:
    """What the venue remembers over restarts of the client: orders that it said were cancelled."""

    said_cancelled: set[str] = field(default_factory=set)


class MisbehavingBroker:
    """Passes calls on, and does wrong what the script says.

    Parameters
    ----------
    broker : Broker
    script : Script
    afterlife : Afterlife or None
    on_submit : Callable
        Called with each order that reaches the venue, before it does.
    """

    def __init__(
        self,
        broker: Broker,
        script: Script,
        afterlife: Afterlife | None = None,
        *,
        on_submit: Callable[[Order], Awaitable[None]] | None = None,
    ) -> None:
        self.venue = broker.venue
        self.done = Counter[Fault]()
        self._broker = broker
        self._script = script
        self._afterlife = afterlife or Afterlife()
        self._on_submit = on_submit
        self._gaps = 0
        self._account_before: VenueAccount | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    @property
    def gaps(self) -> int:
        return self._broker.gaps + self._gaps

    async def rules(self, instruments: Sequence[InstrumentId]) -> Mapping[InstrumentId, InstrumentRules]:
        return await self._broker.rules(instruments)

    async def account(self, instruments: Sequence[InstrumentId]) -> VenueAccount:
        fault = self._begin("account")
        if fault is Fault.STALE_ACCOUNT and self._account_before is not None:
            self.done[fault] += 1
            return self._account_before
        self._account_before = await self._answer(fault, self._broker.account(instruments))
        return self._account_before

    async def open_orders(self) -> Sequence[VenueOrder]:
        listed = await self._answer(self._begin("open_orders"), self._broker.open_orders())
        return [o for o in listed if o.client_order_id not in self._afterlife.said_cancelled]

    async def order(self, order: Order) -> VenueOrder | None:
        return self._seen(
            await self._answer(self._begin("order", order.client_order_id), self._broker.order(order))
        )

    async def fills(self, instruments: Sequence[InstrumentId], since: datetime) -> Sequence[Fill]:
        return await self._answer(self._begin("fills"), self._broker.fills(instruments, since))

    async def submit(self, order: Order) -> VenueOrder:
        fault = self._begin("submit", order.client_order_id)
        if fault is Fault.REJECTED:
            self.done[fault] += 1
            raise Rejected("expected an order that the venue likes, was another")
        if self._on_submit is not None:
            await self._on_submit(order)
        return await self._answer(fault, self._broker.submit(order))

    async def cancel(self, order: Order) -> VenueOrder | None:
        fault = self._begin("cancel", order.client_order_id)
        if fault is Fault.LATE_FILL:
            found = await self._broker.order(order)
            if found is not None and found.status is OrderStatus.OPEN:
                self.done[fault] += 1
                self._afterlife.said_cancelled.add(order.client_order_id)
                return self._seen(found)
        return self._seen(await self._answer(fault, self._broker.cancel(order)))

    async def updates(self) -> AsyncIterator[Update]:
        # Closed at once, and not when garbage is collected: it says whether anybody listens.
        async with aclosing(cast("AsyncGenerator[Update]", self._broker.updates())) as updates:
            async for update in updates:
                fault = self._script("fill", update.fill_id) if isinstance(update, Fill) else None
                if fault is Fault.DROPPED_FILL:
                    self.done[fault] += 1
                    self._gaps += 1
                    continue
                if fault is Fault.DUPLICATE_FILL:
                    self.done[fault] += 1
                    yield update
                yield update

    async def keep_alive(self, seconds: float) -> bool:
        return await self._broker.keep_alive(seconds)

    def _begin(self, name: str, about: str = "") -> Fault | None:
        """What goes wrong with this call, unless it is over with that at once."""
        fault = self._script(name, about)
        if fault is Fault.NEVER_ARRIVED:
            self.done[fault] += 1
            raise Unreachable(f"expected an answer to {name}, was a broken connection")
        if fault is Fault.THROTTLED:
            self.done[fault] += 1
            raise Throttled(f"{name}: asked too often", retry_after_seconds=RETRY_AFTER_SECONDS)
        return fault

    async def _answer(self, fault: Fault | None, doing: Awaitable[T]) -> T:
        answer = await doing
        if fault is Fault.LOST_ANSWER:
            self.done[fault] += 1
            raise Unreachable("expected an answer, was a broken connection")
        if fault is Fault.SILENT:
            self.done[fault] += 1
            raise TimeoutError
        return answer

    def _seen(self, word: VenueOrder | None) -> VenueOrder | None:
        """An order that was said to be cancelled is, until it has been filled."""
        if word is None or word.client_order_id not in self._afterlife.said_cancelled:
            return word
        if word.status is OrderStatus.OPEN:
            return replace(word, status=OrderStatus.CANCELLED, reason="cancelled by us")
        return word
