"""What the trader remembers, in memory."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from autotrader.db.trading_rules import (
    event_of_strategy,
    refuse_lost,
    refuse_revision,
    require_no_instrument,
    require_own,
)
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.orders import Fill, Order, OrderStatus
from autotrader.domain.positions import ClosedTrade, Holdings, Position
from autotrader.ports.events import EventLog
from autotrader.ports.trading import (
    AccountState,
    Change,
    Control,
    DeadLetter,
    EquityPoint,
    Lease,
    Page,
    Recovery,
    Signal,
    TradingReads,
)
from tests.fakes.events import InMemoryEventLog

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


class InMemoryTradingRecords:
    """Keeps what the database keeps, under one lock; the events go to `events`."""

    def __init__(self, events: EventLog | None = None) -> None:
        self.events = events or InMemoryEventLog()
        self._lock = threading.RLock()
        self._leases: dict[str, Lease] = {}
        self._released: set[str] = set()
        self._states: dict[str, AccountState] = {}
        self._orders: dict[str, Order] = {}
        self._positions: dict[tuple[str, InstrumentId], Position] = {}
        self._fills: dict[tuple[str, InstrumentId, str], Fill] = {}
        self._trades: dict[tuple[str, InstrumentId, datetime], ClosedTrade] = {}
        self._equity: dict[tuple[str, datetime], EquityPoint] = {}
        self._signals: dict[tuple[str, InstrumentId, datetime], Signal] = {}
        self._recoveries: dict[str, Recovery] = {}
        self._dead_letters: dict[tuple[str, str], DeadLetter] = {}
        self._controls: dict[str, Control] = {}
        self._strategies: dict[str, tuple[bool, int]] = {}

    # ------------------------------------------------------------------------------- the lease

    def acquire(
        self, account: str, owner: str, *, now: datetime, seconds: float, silent: Lease | None = None
    ) -> Lease | None:
        with self._lock:
            last = self._leases.get(account)
            if last not in (None, silent) and account not in self._released:
                return None
            token = last.token + 1 if last else 1
            self._leases[account] = Lease(account, owner, token, now + timedelta(seconds=seconds))
            self._released.discard(account)
            return self._leases[account]

    def renew(self, lease: Lease, *, now: datetime, seconds: float) -> Lease:
        with self._lock:
            self._require_held(lease)
            renewed = replace(lease, expires_at=now + timedelta(seconds=seconds))
            self._leases[lease.account] = renewed
            if lease.account in self._states:
                beaten = replace(self._states[lease.account], heartbeat_at=now)
                self._states[lease.account] = beaten
            return renewed

    def release(self, lease: Lease, *, now: datetime) -> None:
        with self._lock:
            if self._holds(lease):
                self._leases[lease.account] = replace(self._leases[lease.account], expires_at=now)
                self._released.add(lease.account)

    def lease(self, account: str) -> Lease | None:
        return self._leases.get(account)

    def _holds(self, lease: Lease) -> bool:
        newest = self._leases.get(lease.account)
        return newest is not None and newest.token == lease.token and lease.account not in self._released

    def _require_held(self, lease: Lease) -> None:
        if not self._holds(lease):
            raise refuse_lost(lease, self._leases.get(lease.account))

    # -------------------------------------------------------------------------------- changing

    def write(self, lease: Lease, change: Change) -> None:
        require_own(lease, change)
        with self._lock:
            self._require_held(lease)
            if change.state is not None:
                self._put_state(change.state)
            self._orders.update({o.client_order_id: o for o in change.orders})
            self._positions.update({(p.account, p.instrument): p for p in change.positions})
            _add(self._fills, change.fills, lambda f: (f.account, f.instrument, f.fill_id))
            _add(self._trades, change.trades, lambda t: (t.account, t.instrument, t.closed_at))
            _add(self._equity, change.equity, lambda e: (e.account, e.at))
            _add(self._signals, change.signals, lambda s: (s.account, s.instrument, s.ts))
            _add(self._dead_letters, change.dead_letters, lambda d: (d.account, d.client_order_id))
            for new in change.recoveries:
                old = self._recoveries.setdefault(new.id, new)
                if old.acknowledged_at is None:
                    by, at = new.acknowledged_by, new.acknowledged_at
                    self._recoveries[new.id] = replace(old, acknowledged_by=by, acknowledged_at=at)
            for answered in change.answered:
                asked = self._controls.setdefault(answered.id, answered)
                if asked.answered_at is None:
                    at, answer = answered.answered_at, answered.answer
                    self._controls[answered.id] = replace(asked, answered_at=at, answer=answer)
            for event in change.events:
                self.events.record(event)

    def _put_state(self, state: AccountState) -> None:
        stored = self._states.get(state.account)
        if state.revision != (stored.revision if stored else 0):
            raise refuse_revision(state, stored.revision if stored else None)
        self._states[state.account] = replace(state, revision=state.revision + 1)

    def forget(self, account: str, before: datetime) -> int:
        with self._lock:
            signals = [k for k, s in self._signals.items() if s.account == account and s.ts < before]
            points = [k for k, e in self._equity.items() if e.account == account and e.at < before]
            for signal in signals:
                del self._signals[signal]
            for point in points:
                del self._equity[point]
            return len(signals) + len(points)

    # --------------------------------------------------------------------------------- reading

    @contextlib.contextmanager
    def at_once(self) -> Iterator[TradingReads]:
        with self._lock:
            yield self

    def state(self, account: str) -> AccountState | None:
        return self._states.get(account)

    def accounts(self) -> Sequence[AccountState]:
        with self._lock:
            return [self._states[account] for account in sorted(self._states)]

    def holdings(self, account: str) -> Holdings:
        with self._lock:
            cash = self._states[account].cash if account in self._states else {}
            own = (p for p in self._positions.values() if p.account == account)
            return Holdings(account, dict(cash), {p.instrument: p for p in own})

    def working_orders(self, account: str) -> Sequence[Order]:
        with self._lock:
            own = [o for o in self._orders.values() if o.account == account and not o.status.is_final]
        return sorted(own, key=lambda o: (o.decided_at, o.client_order_id))

    def order(self, client_order_id: str) -> Order | None:
        return self._orders.get(client_order_id)

    def order_times(self, account: str, since: datetime) -> Sequence[datetime]:
        with self._lock:
            return sorted(
                o.decided_at
                for o in self._orders.values()
                if o.account == account and o.decided_at >= since and o.status is not OrderStatus.EXPIRED
            )

    def known_fills(self, account: str, since: datetime) -> frozenset[tuple[InstrumentId, str]]:
        with self._lock:
            own = [f for f in self._fills.values() if f.account == account]
        return frozenset((f.instrument, f.fill_id) for f in own if f.at >= since)

    def orders(self, account: str, page: Page) -> Sequence[Order]:
        own = [o for o in self._own(self._orders.values(), account) if _wanted(o.instrument, page)]
        return _page(own, page, lambda o: o.decided_at, lambda o: o.client_order_id)

    def fills(self, account: str, page: Page) -> Sequence[Fill]:
        own = [f for f in self._own(self._fills.values(), account) if _wanted(f.instrument, page)]
        return _page(own, page, lambda f: f.at, lambda f: (str(f.instrument), f.fill_id))

    def trades(self, account: str, page: Page) -> Sequence[ClosedTrade]:
        own = [t for t in self._own(self._trades.values(), account) if _wanted(t.instrument, page)]
        return _page(own, page, lambda t: t.closed_at, lambda t: str(t.instrument))

    def signals(self, account: str, page: Page) -> Sequence[Signal]:
        own = [s for s in self._own(self._signals.values(), account) if _wanted(s.instrument, page)]
        return _page(own, page, lambda s: s.ts, lambda s: str(s.instrument))

    def equity(self, account: str, page: Page) -> Sequence[EquityPoint]:
        require_no_instrument(page, of="equity")
        return _page(self._own(self._equity.values(), account), page, lambda e: e.at, lambda e: e.account)

    def recoveries(self, account: str, page: Page) -> Sequence[Recovery]:
        require_no_instrument(page, of="recoveries")
        return _page(self._own(self._recoveries.values(), account), page, lambda r: r.at, lambda r: r.id)

    def dead_letters(self, account: str, page: Page) -> Sequence[DeadLetter]:
        require_no_instrument(page, of="dead letters")
        own = self._own(self._dead_letters.values(), account)
        return _page(own, page, lambda d: d.at, lambda d: d.client_order_id)

    def _own(self, rows: Iterable[T], account: str) -> list[T]:
        with self._lock:
            return [row for row in rows if row.account == account]  # type: ignore[attr-defined]

    # ------------------------------------------------------------------ what persons ask for

    def ask(self, control: Control) -> None:
        with self._lock:
            self._controls.setdefault(control.id, control)

    def unanswered(self, account: str) -> Sequence[Control]:
        own = self._own(self._controls.values(), account)
        return sorted((c for c in own if c.answered_at is None), key=lambda c: (c.asked_at, c.id))

    def control(self, control_id: str) -> Control | None:
        return self._controls.get(control_id)

    def strategy_enabled(self, strategy_id: str) -> bool:
        return self._strategies.get(strategy_id, (True, 0))[0]

    def enable_strategy(
        self, strategy_id: str, enabled: bool, *, actor: str, reason: str, at: datetime
    ) -> bool:
        with self._lock:
            was_enabled, changes = self._strategies.get(strategy_id, (True, 0))
            if was_enabled is enabled:
                return False
            self._strategies[strategy_id] = (enabled, changes + 1)
            told = event_of_strategy(strategy_id, enabled, changes + 1, actor=actor, reason=reason, at=at)
            self.events.record(told)
            return True


def _add(rows: dict[K, T], new: Iterable[T], key: Callable[[T], K]) -> None:
    for row in new:
        rows.setdefault(key(row), row)


def _wanted(instrument: InstrumentId, page: Page) -> bool:
    return page.instrument is None or instrument == page.instrument


def _page(
    rows: Iterable[T], page: Page, time: Callable[[T], datetime], tie: Callable[[T], object]
) -> list[T]:
    found = [
        row
        for row in rows
        if (page.start is None or time(row) >= page.start) and (page.end is None or time(row) < page.end)
    ]
    by_tie = sorted(found, key=tie)  # type: ignore[arg-type]
    newest_first = sorted(by_tie, key=time, reverse=True)
    return newest_first[page.offset : page.offset + page.limit]
