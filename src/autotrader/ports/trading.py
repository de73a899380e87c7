"""What the trader remembers: durable, written by the one that holds the lease, read by anybody."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol, TypeVar, runtime_checkable

from autotrader.domain.instruments import InstrumentId
from autotrader.domain.orders import Fill, Order
from autotrader.domain.positions import ClosedTrade, Holdings, Position
from autotrader.domain.trading import (
    Cause,
    ControlKind,
    DiscrepancyKind,
    RecoveryKind,
    RunStatus,
    TradingState,
)
from autotrader.ports.events import Event

T = TypeVar("T")
_ROWS = 5_000  # of one question


LONGEST_LEASE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to trade an account; the store refuses writes under a token that is not the newest.

    Attributes
    ----------
    token : int
        Grows with every new owner.
    expires_at : datetime
        Wall time, UTC.
    """

    account: str
    owner: str
    token: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Restriction:
    """Why an account is not ACTIVE: one for each cause at most.

    Attributes
    ----------
    since : datetime
        Wall time.
    until : datetime or None
        Market time at which it ends by itself; None where something or somebody must end it.
    actor : str
    """

    cause: Cause
    state: TradingState
    reason: str
    since: datetime
    actor: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class AccountState:
    """One account, as of its newest checkpoint.

    Attributes
    ----------
    status : RunStatus
    heartbeat_at, started_at : datetime
        Wall time.
    source : str
        `live`, `recorded` or `SIMULATED`: where the bars came from.
    restrictions : tuple of Restriction
        None: ACTIVE.
    base_currency : str
    cash : Mapping[str, Decimal]
    initial_equity, peak_equity, day_start_equity, equity : Decimal
        Base currency, marked at the last prices.
    day : date or None
        Trading day that `day_start_equity` is of.
    consecutive_losses : int
    cursor : datetime or None
        Open of the newest bars that were dealt with; market time.
    fills_since : datetime or None
        The venue's fills are known up to here, by its clock.
    memory : Mapping[str, object]
        JSON; what the strategy must remember from bar to bar (targets and when they expire).
    revision : int
        Grows with each write.
    """

    account: str
    strategy_id: str
    venue: str
    status: RunStatus
    heartbeat_at: datetime
    started_at: datetime
    owner: str
    source: str
    base_currency: str
    initial_equity: Decimal
    peak_equity: Decimal
    day_start_equity: Decimal
    equity: Decimal
    cash: Mapping[str, Decimal] = field(default_factory=dict)
    restrictions: tuple[Restriction, ...] = ()
    day: date | None = None
    consecutive_losses: int = 0
    cursor: datetime | None = None
    fills_since: datetime | None = None
    memory: Mapping[str, object] = field(default_factory=dict)
    revision: int = 0

    @property
    def state(self) -> TradingState:
        """The worst that any restriction demands."""
        return max(
            (r.state for r in self.restrictions), key=lambda state: state.rank, default=TradingState.ACTIVE
        )


@dataclass(frozen=True, slots=True)
class EquityPoint:
    """The account at one bar's close; base currency, `at` is market time.

    Attributes
    ----------
    drawdown : float
        Fraction below the peak.
    """

    account: str
    at: datetime
    equity: Decimal
    cash: Decimal
    drawdown: float
    daily_pnl: Decimal


@dataclass(frozen=True, slots=True)
class Signal:
    """What was predicted at a bar's close, and what was made of it.

    Attributes
    ----------
    ts : datetime
        The bar's open; market time.
    version, color, epoch
        Who answered; None where nobody did.
    score : float or None
        In [-1, 1].
    target : float
        Fraction of equity.
    price : Decimal
        Close.
    client_order_id : str or None
    outcome : str
        One sentence: the order, or why there is none.
    """

    account: str
    strategy_id: str
    instrument: InstrumentId
    ts: datetime
    version: str | None
    color: str | None
    epoch: int | None
    score: float | None
    confidence: float | None
    target: float
    price: Decimal
    client_order_id: str | None
    outcome: str


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """Where we and the venue disagree.

    Attributes
    ----------
    ours, theirs : Decimal
        Units; of an order, what is left of it.
    value : Decimal
        Of the difference, base currency.
    """

    kind: DiscrepancyKind
    instrument: InstrumentId
    ours: Decimal
    theirs: Decimal
    value: Decimal
    is_major: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Recovery:
    """One reconciliation that found something, or that a start or a person asked for.

    Attributes
    ----------
    adopted_fills : int
        Fills that the venue knew and we did not.
    resolved : bool
        Whether positions and orders agree now.
    acknowledged_by : str or None
    """

    id: str
    account: str
    kind: RecoveryKind
    at: datetime
    seconds: float
    adopted_fills: int
    discrepancies: tuple[Discrepancy, ...]
    resolved: bool
    reason: str
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An order that could not be sent, and will not be."""

    account: str
    client_order_id: str
    at: datetime
    attempts: int
    reason: str


@dataclass(frozen=True, slots=True)
class Control:
    """What a person asked of the trader, and what came of it.

    Attributes
    ----------
    actor : str
        Authenticated identity.
    answered_at : datetime or None
        None until the trader has done it.
    """

    id: str
    account: str
    kind: ControlKind
    actor: str
    reason: str
    asked_at: datetime
    answered_at: datetime | None = None
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What one step of the trader changes: all of it, or nothing.

    Attributes
    ----------
    state : AccountState or None
        Replaces the row whole; its `revision` is the one read, and the store adds one.
    orders, positions
        Each replaces the row of its key (`client_order_id`; account and instrument).
    fills, trades, equity, signals, dead_letters, events
        Inserted where new, by key: fill (account, instrument, fill_id), trade (account, instrument,
        closed_at), equity (account, at), signal (account, instrument, ts), dead letter
        (account, client_order_id), event (key).
    recoveries
        Inserted where new, by id; one that is there only takes on its acknowledgement, the first one.
    answered : tuple of Control
        Whose answers are stored, the first one of each.
    """

    state: AccountState | None = None
    orders: tuple[Order, ...] = ()
    fills: tuple[Fill, ...] = ()
    positions: tuple[Position, ...] = ()
    trades: tuple[ClosedTrade, ...] = ()
    equity: tuple[EquityPoint, ...] = ()
    signals: tuple[Signal, ...] = ()
    recoveries: tuple[Recovery, ...] = ()
    dead_letters: tuple[DeadLetter, ...] = ()
    answered: tuple[Control, ...] = ()
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a listing: newest first, of [start, end), `limit` rows after `offset`.

    The time is that of the event itself: `decided_at` of orders, `at` of fills, `closed_at` of trades,
    `ts` of signals. `instrument` is for listings of what has one.
    """

    start: datetime | None = None
    end: datetime | None = None
    instrument: InstrumentId | None = None
    limit: int = 100
    offset: int = 0


class TradingReads(Protocol):
    """Accounts, orders, fills, positions, as they are read.

    Methods raise Unreachable while the database does not answer.
    """

    def lease(self, account: str) -> Lease | None:
        """The newest lease, expired or not; None before the first."""
        ...

    def state(self, account: str) -> AccountState | None: ...

    def accounts(self) -> Sequence[AccountState]: ...

    def holdings(self, account: str) -> Holdings:
        """Cash and positions, as of one instant."""
        ...

    def working_orders(self, account: str) -> Sequence[Order]:
        """All that are not final, oldest first."""
        ...

    def order(self, client_order_id: str) -> Order | None: ...

    def order_times(self, account: str, since: datetime) -> Sequence[datetime]:
        """`decided_at` of every order decided from `since` on that was not EXPIRED, ascending."""
        ...

    def known_fills(self, account: str, since: datetime) -> frozenset[tuple[InstrumentId, str]]:
        """Instrument and id of the fills from `since` on, by the venue's clock."""
        ...

    def orders(self, account: str, page: Page) -> Sequence[Order]: ...

    def fills(self, account: str, page: Page) -> Sequence[Fill]: ...

    def trades(self, account: str, page: Page) -> Sequence[ClosedTrade]: ...

    def signals(self, account: str, page: Page) -> Sequence[Signal]: ...

    def equity(self, account: str, page: Page) -> Sequence[EquityPoint]: ...

    def recoveries(self, account: str, page: Page) -> Sequence[Recovery]: ...

    def dead_letters(self, account: str, page: Page) -> Sequence[DeadLetter]: ...

    def unanswered(self, account: str) -> Sequence[Control]:
        """Oldest first."""
        ...

    def control(self, control_id: str) -> Control | None: ...

    def strategy_enabled(self, strategy_id: str) -> bool:
        """True unless somebody disabled it."""
        ...


@runtime_checkable
class TradingRecords(TradingReads, Protocol):
    """Accounts, orders, fills, positions, and the lease on them.

    Methods raise Unreachable while the database does not answer.
    """

    def at_once(self) -> AbstractContextManager[TradingReads]:
        """Reads that see one instant, however many they are and whoever writes meanwhile.

        For the thread that asked; within, nothing may be waited for but the database.
        """
        ...

    def acquire(
        self, account: str, owner: str, *, now: datetime, seconds: float, silent: Lease | None = None
    ) -> Lease | None:
        """Take the lease with a new token; None while the newest is somebody's.

        It is until it is released, or is still this one, which its owner was seen not to prolong. Whoever
        that was: an owner is one start of a process, and a start of the same name waits, too.
        """
        ...

    def renew(self, lease: Lease, *, now: datetime, seconds: float) -> Lease:
        """Prolong it, and beat the account's heart; Refused if it was released or another token given out."""
        ...

    def release(self, lease: Lease, *, now: datetime) -> None:
        """Give it back: nothing can be written under it any more. Nothing happens if it is lost already."""
        ...

    def write(self, lease: Lease, change: Change) -> None:
        """Make the whole change durable, in one transaction.

        Raises
        ------
        Refused
            If the lease's token is not the newest, it was released, or the state's revision is not the
            stored one: nothing is written, and the caller must trade no more.
        ValueError
            If something in it is of another account than the lease.
        """
        ...

    def forget(self, account: str, before: datetime) -> int:
        """Delete signals and equity points of before this (market) time; how many there were.

        Everything else is kept. It holds a writer up for a day's rows at a time, not for all of them.
        """
        ...

    def ask(self, control: Control) -> None:
        """Put a request before the trader; the same id again changes nothing."""
        ...

    def enable_strategy(
        self, strategy_id: str, enabled: bool, *, actor: str, reason: str, at: datetime
    ) -> bool:
        """Change it, with an AUDIT event; False if it was so already."""
        ...


def every_row(listing: Callable[[str, Page], Sequence[T]], account: str, page: Page) -> Iterator[T]:
    """Every row of a page's span, newest first, however many there are.

    Parameters
    ----------
    listing : Callable
        One of the records' listings, such as `records.trades`.
    """
    offset = 0
    while True:
        rows = listing(account, Page(page.start, page.end, page.instrument, _ROWS, offset))
        yield from rows
        if len(rows) < _ROWS:
            return
        offset += len(rows)
