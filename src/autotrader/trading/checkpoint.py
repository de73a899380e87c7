"""What a replay of decisions begins with, told as an event in the transaction of its step.

A checkpoint is of a moment in a step at which nothing is in flight: what the venue did has been heard,
what worked has been taken back, and nothing of the new bars has been decided. From there on bars,
predictions and fills say all that happens, until somebody or something else changes the account:
then the next step has a checkpoint, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from autotrader.command import to_plain
from autotrader.domain.bars import Interval
from autotrader.domain.instruments import InstrumentId, InstrumentRules
from autotrader.domain.positions import Position
from autotrader.domain.trading import Cause, TradingState
from autotrader.plain import from_plain
from autotrader.ports.events import Event, EventType
from autotrader.ports.trading import AccountState
from autotrader.trading.bars import Batch
from autotrader.trading.book import Book
from autotrader.trading.targets import Targets
from autotrader.trading.trading_day import trading_day
from autotrader.trading.unexplained import UNEXPLAINED

TARGETS, DECISION_HASH = "targets", "decision_hash"
_KEY = "checkpoint-"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An account before the bars of an instant are decided on.

    Attributes
    ----------
    ts : datetime
        Open of those bars; market time.
    at : datetime
        Wall time.
    why : str
    state : AccountState
        Its cursor lies before the bars; its memory is that of this moment.
    positions : tuple of Position
    prices, priced_at : Mapping
        Last price of each instrument, and the market time that it is of; by `venue:symbol`.
    instruments : tuple of InstrumentId
        That the strategy trades here.
    rules : Mapping[str, InstrumentRules]
        The venue's, by `venue:symbol`.
    terms : Mapping[str, object]
        Settings that decisions depend on, and the software's version; JSON.
    interval : Interval
    """

    ts: datetime
    at: datetime
    why: str
    state: AccountState
    positions: tuple[Position, ...]
    prices: Mapping[str, Decimal]
    priced_at: Mapping[str, datetime]
    instruments: tuple[InstrumentId, ...]
    rules: Mapping[str, InstrumentRules]
    terms: Mapping[str, object]
    interval: Interval

    @property
    def decision_hash(self) -> str:
        """Of all decisions before these bars."""
        return str(self.state.memory.get(DECISION_HASH, ""))

    @property
    def first_close(self) -> datetime:
        """Of these bars: what was decided or filled before it is in the checkpoint."""
        return self.ts + self.interval.delta

    @classmethod
    def of(cls, event: Event, account: str) -> Checkpoint | None:
        """The account's checkpoint that an event tells; None where it tells of something else.

        Raises
        ------
        BadData
            If another version wrote it, in a form that this one does not know.
        """
        if event.type is not EventType.AUDIT or not event.key.startswith(f"{_KEY}{account}-"):
            return None
        checkpoint = from_plain(cls, event.data)
        # Accounts main and main-2 have keys that begin alike.
        return checkpoint if checkpoint.state.account == account else None


class Checkpoints:
    """Decides when a checkpoint is due: at a process's first step, a trading day's, and after what
    neither bars nor fills brought about.

    Parameters
    ----------
    instruments : tuple of InstrumentId
    interval : Interval
    day_boundary : str
        As `trading_day` reads it.
    terms : Mapping[str, object]
        JSON.
    actor : str
    """

    def __init__(
        self,
        instruments: tuple[InstrumentId, ...],
        interval: Interval,
        *,
        day_boundary: str,
        terms: Mapping[str, object],
        actor: str,
    ) -> None:
        self._instruments = instruments
        self._interval = interval
        self._day_boundary = day_boundary
        self._terms = terms
        self._actor = actor
        self._due = "the process began"
        self._left: _Standing | None = None

    def leave(self, state: AccountState) -> None:
        """Remember how a step leaves the account."""
        self._left = _Standing.of(state)

    def take(
        self,
        batch: Batch,
        state: AccountState,
        book: Book,
        targets: Targets,
        *,
        decision_hash: str,
        now: datetime,
    ) -> Event | None:
        """The checkpoint before these bars, if one is due and nothing is in flight.

        Parameters
        ----------
        decision_hash : str
            Of all decisions so far.
        now : datetime
            Wall time.
        """
        if state.day is not None and trading_day(batch.closed_at, self._day_boundary) > state.day:
            self._due = self._due or "the trading day began"
        if self._left is not None and not self._left.leads_to(_Standing.of(state)):
            self._due = self._due or "something other than bars changed the account"
        if not self._due or book.working:
            return None
        held = book.valued
        memory: dict[str, object] = {TARGETS: targets.to_plain(), DECISION_HASH: decision_hash}
        if UNEXPLAINED in state.memory:
            memory[UNEXPLAINED] = state.memory[UNEXPLAINED]
        checkpoint = Checkpoint(
            ts=batch.ts,
            at=now,
            why=self._due,
            state=replace(
                state,
                cursor=batch.ts - self._interval.delta,
                cash=dict(held.cash),
                memory=memory,
            ),
            positions=tuple(held.positions.values()),
            prices={str(instrument): price for instrument, price in book.prices.items()},
            priced_at={str(instrument): at for instrument, at in book.priced_at.items()},
            instruments=self._instruments,
            rules={str(instrument): rules for instrument, rules in book.rules.items()},
            terms=self._terms,
            interval=self._interval,
        )
        self._due = ""
        return Event(
            key=f"{_KEY}{state.account}-{batch.ts.isoformat()}",
            type=EventType.AUDIT,
            severity="info",
            message=(
                f"Account {state.account}: checkpoint before the bars of {batch.ts:%Y-%m-%d %H:%M}, "
                f"for {checkpoint.why}"
            ),
            actor=self._actor,
            at=now,
            data=to_plain(checkpoint),
        )


@dataclass(frozen=True, slots=True)
class _Standing:
    """What nothing but a step changes, unless something outside of it does.

    Attributes
    ----------
    pauses : bool
        Whether losses hold the account back: fills between steps may begin that, not end it.
    """

    restrictions: tuple[tuple[Cause, TradingState], ...]
    pauses: bool
    bases: tuple[Decimal, ...]
    unexplained: object

    @classmethod
    def of(cls, state: AccountState) -> _Standing:
        causes = {r.cause: r.state for r in state.restrictions}
        pauses = causes.pop(Cause.LOSSES, None) is not None
        bases = (state.initial_equity, state.peak_equity, state.day_start_equity)
        return cls(tuple(sorted(causes.items())), pauses, bases, state.memory.get(UNEXPLAINED))

    def leads_to(self, other: _Standing) -> bool:
        """Whether fills alone can have made the other of it."""
        return replace(self, pauses=self.pauses or other.pauses) == other
