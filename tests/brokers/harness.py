"""What `tests/contracts/test_broker.py` needs of a venue, so that every broker passes the same suite.

A venue joins with a module of its own here and one line in the suite's `HARNESSES`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from autotrader.domain.instruments import InstrumentId
from autotrader.ports.broker import Broker


class Misbehaviour(StrEnum):
    """What a venue is told to do wrong, once.

    LOST_REQUEST       the next submission is cut off before the venue has it
    LOST_ANSWER        the next submission is done, and the answer to it is lost
    REJECTED           the venue refuses the next submission
    THROTTLED          the venue answers the next request with a plea for patience, of a second or so
    DUPLICATE_FILL     the next fill is told twice by the updates
    UNTOLD_FILL        the next fill is not told by the updates
    LATE_FILL          the next cancellation is confirmed, and then the whole order is filled all the same
    DISCONNECTED       the connection of the updates breaks, now
    STALE_ACCOUNT      the next account is the one of before the newest fill
    """

    LOST_REQUEST = "lost_request"
    LOST_ANSWER = "lost_answer"
    REJECTED = "rejected"
    THROTTLED = "throttled"
    DUPLICATE_FILL = "duplicate_fill"
    UNTOLD_FILL = "untold_fill"
    LATE_FILL = "late_fill"
    DISCONNECTED = "disconnected"
    STALE_ACCOUNT = "stale_account"


class BrokerHarness(Protocol):
    """A stand-in of one venue, with a market in one instrument and one account in it.

    Attributes
    ----------
    instrument : InstrumentId
    unknown : InstrumentId
        The venue does not have it.
    currency : str
        Quote currency of `instrument`, and the account's only cash.
    price : Decimal
        Where the market stands before the first `trade`.
    quantity : Decimal
        An order of usual size: at least four lots, and a fourth of it is enough of an order.
    cannot : frozenset of Misbehaviour
        What has no meaning here (a broker in this process has no connection that breaks); the suite
        skips it.
    """

    instrument: InstrumentId
    unknown: InstrumentId
    currency: str
    price: Decimal
    quantity: Decimal
    cannot: frozenset[Misbehaviour]

    def broker(self) -> AbstractAsyncContextManager[Broker]:
        """A new connection to the account, as after a restart; at most one is open at a time."""
        ...

    def now(self) -> datetime:
        """The venue's clock."""
        ...

    async def trade(self, price: Decimal) -> None:
        """The market goes on and trades at this price, enough of it for all: market orders that have
        not been filled yet are, and limit orders where this price is as good as theirs or better.

        A venue that fills market orders at once does so at the price of the `trade` before.
        """
        ...

    async def listening(self) -> None:
        """Return once the venue would tell the broker's `updates` of a fill."""
        ...

    def misbehave(self, kind: Misbehaviour) -> None: ...

    @property
    def due(self) -> int:
        """How many misbehaviours have been told and not come about."""
        ...


# Opens the venue's stand-in with so much cash in a new account.
HarnessFactory = Callable[[Decimal], AbstractAsyncContextManager[BrokerHarness]]
