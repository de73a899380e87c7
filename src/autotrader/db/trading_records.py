"""What the trader remembers, in the database.

A change is one transaction that begins by asking whether its lease is still held; it is on the disk
when `write` returns (SQLite: `synchronous` is FULL; with NORMAL a power cut takes back the last
commits, and so an order that was sent already).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from autotrader.db import leases
from autotrader.db.engine import (
    insert_all_new,
    insert_new,
    insert_or_set_once,
    prepare_insert,
    prepare_put,
    put_all,
    reading,
)
from autotrader.db.events import record_event, record_events
from autotrader.db.locks import serialise
from autotrader.db.rows import names_of, row_of, select_fields
from autotrader.db.tables import EVENTS
from autotrader.db.trading_rules import (
    event_of_strategy,
    refuse_revision,
    require_no_instrument,
    require_own,
)
from autotrader.db.trading_tables import (
    CONTROLS,
    EQUITY,
    FILLS,
    ORDER_DEAD_LETTERS,
    ORDERS,
    POSITIONS,
    RECOVERY_EVENTS,
    SIGNALS,
    STRATEGIES,
    SYSTEM_STATE,
    TRADES,
    WORKING,
)
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.orders import Fill, Order, OrderStatus
from autotrader.domain.positions import ClosedTrade, Holdings, Position
from autotrader.ports.events import Event
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
)

T = TypeVar("T")

_SLICE = timedelta(days=1)
_OF_ACCOUNT = SYSTEM_STATE.c.account == sa.bindparam("of_account")
_BEAT = sa.update(SYSTEM_STATE).where(_OF_ACCOUNT)
_REPLACE_STATE = sa.update(SYSTEM_STATE).where(_OF_ACCOUNT, SYSTEM_STATE.c.revision == sa.bindparam("seen"))

_INSERTED: tuple[tuple[sa.Table, type], ...] = (
    (FILLS, Fill),
    (TRADES, ClosedTrade),
    (EQUITY, EquityPoint),
    (SIGNALS, Signal),
    (EVENTS, Event),
)


class SqlTradingRecords:
    """Accounts, orders, fills, positions, and the lease on them.

    Parameters
    ----------
    engine : Engine
        Of a migrated database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # ------------------------------------------------------------------------------- the lease

    def acquire(self, account: str, owner: str, *, now: datetime, seconds: float) -> Lease | None:
        with self._engine.begin() as connection:
            _prepare(connection)
            return leases.take(connection, account, owner, now, seconds)

    def renew(self, lease: Lease, *, now: datetime, seconds: float) -> Lease:
        with self._engine.begin() as connection:
            renewed = leases.prolong(connection, lease, now, seconds)
            connection.execute(_BEAT, {"of_account": lease.account, "heartbeat_at": now})
            return renewed

    def release(self, lease: Lease, *, now: datetime) -> None:
        with self._engine.begin() as connection:
            leases.give_back(connection, lease, now)

    def lease(self, account: str) -> Lease | None:
        with reading(self._engine) as connection:
            return leases.newest(connection, account)

    # -------------------------------------------------------------------------------- changing

    def write(self, lease: Lease, change: Change) -> None:
        require_own(lease, change)
        with self._engine.begin() as connection:
            leases.require_held(connection, lease)
            if change.state is not None:
                _put_state(connection, change.state)
            put_all(connection, ORDERS, _rows(change.orders))
            insert_all_new(connection, FILLS, _rows(change.fills))
            put_all(connection, POSITIONS, _rows(change.positions))
            insert_all_new(connection, TRADES, _rows(change.trades))
            insert_all_new(connection, EQUITY, _rows(change.equity))
            insert_all_new(connection, SIGNALS, _rows(change.signals))
            insert_all_new(connection, ORDER_DEAD_LETTERS, _rows(change.dead_letters))
            insert_or_set_once(
                connection, RECOVERY_EVENTS, _rows(change.recoveries), "acknowledged_at", "acknowledged_by"
            )
            insert_or_set_once(connection, CONTROLS, _rows(change.answered), "answered_at", "answer")
            record_events(connection, change.events)

    def forget(self, account: str, before: datetime) -> int:
        return sum(
            self._forget(table.c.account == account, table.c[time], before)
            for table, time in ((SIGNALS, "ts"), (EQUITY, "at"))
        )

    def _forget(self, own: sa.ColumnElement[bool], time: sa.Column[Any], before: datetime) -> int:
        # In slices, each a transaction: the trader must not wait for years of rows to go.
        oldest = sa.select(sa.func.min(time)).where(own)
        forgotten = 0
        while True:
            with self._engine.begin() as connection:
                begin = connection.scalar(oldest)
                if begin is None or begin >= before:
                    return forgotten
                slice_ = sa.delete(time.table).where(own, time < min(begin + _SLICE, before))
                forgotten += connection.execute(slice_).rowcount

    # --------------------------------------------------------------------------------- reading

    def state(self, account: str) -> AccountState | None:
        return self._first(AccountState, SYSTEM_STATE, SYSTEM_STATE.c.account == account)

    def accounts(self) -> Sequence[AccountState]:
        return self._all(AccountState, SYSTEM_STATE, order=[SYSTEM_STATE.c.account])

    def holdings(self, account: str) -> Holdings:
        with reading(self._engine) as connection:
            cash = connection.scalar(sa.select(SYSTEM_STATE.c.cash).where(SYSTEM_STATE.c.account == account))
            query = select_fields(POSITIONS, Position).where(POSITIONS.c.account == account)
            positions = [Position(*row) for row in connection.execute(query)]
        return Holdings(account, cash or {}, {position.instrument: position for position in positions})

    def working_orders(self, account: str) -> Sequence[Order]:
        order = [ORDERS.c.decided_at, ORDERS.c.client_order_id]
        return self._all(Order, ORDERS, ORDERS.c.account == account, WORKING, order=order)

    def order(self, client_order_id: str) -> Order | None:
        return self._first(Order, ORDERS, ORDERS.c.client_order_id == client_order_id)

    def order_times(self, account: str, since: datetime) -> Sequence[datetime]:
        times = (
            sa.select(ORDERS.c.decided_at)
            .where(
                ORDERS.c.account == account,
                ORDERS.c.decided_at >= since,
                ORDERS.c.status != OrderStatus.EXPIRED,
            )
            .order_by(ORDERS.c.decided_at)
        )
        with reading(self._engine) as connection:
            return connection.scalars(times).all()

    def known_fills(self, account: str, since: datetime) -> frozenset[tuple[InstrumentId, str]]:
        query = sa.select(FILLS.c.instrument, FILLS.c.fill_id).where(
            FILLS.c.account == account, FILLS.c.at >= since
        )
        with reading(self._engine) as connection:
            return frozenset((instrument, fill_id) for instrument, fill_id in connection.execute(query))

    def orders(self, account: str, page: Page) -> Sequence[Order]:
        return self._page(Order, ORDERS, account, page, "decided_at", "client_order_id")

    def fills(self, account: str, page: Page) -> Sequence[Fill]:
        return self._page(Fill, FILLS, account, page, "at", "instrument", "fill_id")

    def trades(self, account: str, page: Page) -> Sequence[ClosedTrade]:
        return self._page(ClosedTrade, TRADES, account, page, "closed_at", "instrument")

    def signals(self, account: str, page: Page) -> Sequence[Signal]:
        return self._page(Signal, SIGNALS, account, page, "ts", "instrument")

    def equity(self, account: str, page: Page) -> Sequence[EquityPoint]:
        require_no_instrument(page, of="equity")
        return self._page(EquityPoint, EQUITY, account, page, "at")

    def recoveries(self, account: str, page: Page) -> Sequence[Recovery]:
        require_no_instrument(page, of="recoveries")
        return self._page(Recovery, RECOVERY_EVENTS, account, page, "at", "id")

    def dead_letters(self, account: str, page: Page) -> Sequence[DeadLetter]:
        require_no_instrument(page, of="dead letters")
        return self._page(DeadLetter, ORDER_DEAD_LETTERS, account, page, "at", "client_order_id")

    # ------------------------------------------------------------------ what persons ask for

    def ask(self, control: Control) -> None:
        with self._engine.begin() as connection:
            insert_new(connection, CONTROLS, row_of(control))

    def unanswered(self, account: str) -> Sequence[Control]:
        own, open_ = CONTROLS.c.account == account, CONTROLS.c.answered_at.is_(None)
        return self._all(Control, CONTROLS, own, open_, order=[CONTROLS.c.asked_at, CONTROLS.c.id])

    def control(self, control_id: str) -> Control | None:
        return self._first(Control, CONTROLS, CONTROLS.c.id == control_id)

    def strategy_enabled(self, strategy_id: str) -> bool:
        query = sa.select(STRATEGIES.c.enabled).where(STRATEGIES.c.id == strategy_id)
        with reading(self._engine) as connection:
            return connection.scalar(query) is not False

    def enable_strategy(
        self, strategy_id: str, enabled: bool, *, actor: str, reason: str, at: datetime
    ) -> bool:
        query = sa.select(STRATEGIES.c.enabled, STRATEGIES.c.revision).where(STRATEGIES.c.id == strategy_id)
        with self._engine.begin() as connection:
            serialise(connection, f"strategy-{strategy_id}")
            found = connection.execute(query).first()
            was_enabled, changes = found or (True, 0)
            if was_enabled is enabled:
                return False
            row = {
                "id": strategy_id,
                "enabled": enabled,
                "revision": changes + 1,
                "actor": actor,
                "reason": reason,
                "changed_at": at,
            }
            put_all(connection, STRATEGIES, [row])
            told = event_of_strategy(strategy_id, enabled, changes + 1, actor=actor, reason=reason, at=at)
            record_event(connection, told)
            return True

    # ----------------------------------------------------------------------------------- parts

    def _page(
        self, kind: type[T], table: sa.Table, account: str, page: Page, time: str, *ties: str
    ) -> Sequence[T]:
        """Newest first by the column `time`; of one instant, by the columns `ties`."""
        at = table.c[time]
        query = select_fields(table, kind).where(table.c.account == account)
        if page.start is not None:
            query = query.where(at >= page.start)
        if page.end is not None:
            query = query.where(at < page.end)
        if page.instrument is not None:
            query = query.where(table.c.instrument == page.instrument)
        query = query.order_by(at.desc(), *(table.c[name] for name in ties))
        with reading(self._engine) as connection:
            found = connection.execute(query.limit(page.limit).offset(page.offset))
            return [kind(*row) for row in found]

    def _all(
        self, kind: type[T], table: sa.Table, *which: Any, order: Iterable[sa.Column[Any]]
    ) -> Sequence[T]:
        query = select_fields(table, kind).where(*which).order_by(*order)
        with reading(self._engine) as connection:
            return [kind(*row) for row in connection.execute(query)]

    def _first(self, kind: type[T], table: sa.Table, which: sa.ColumnElement[bool]) -> T | None:
        with reading(self._engine) as connection:
            found = connection.execute(select_fields(table, kind).where(which)).first()
        return None if found is None else kind(*found)


def _prepare(connection: Connection) -> None:
    """Do beforehand what the first order would else wait for."""
    prepare_put(connection, ORDERS, names_of(Order))
    prepare_put(connection, POSITIONS, names_of(Position))
    for table, kind in _INSERTED:
        prepare_insert(connection, table, names_of(kind))


def _rows(values: Sequence[Any]) -> list[dict[str, Any]]:
    return [row_of(value) for value in values]


def _put_state(connection: Connection, state: AccountState) -> None:
    row = row_of(replace(state, revision=state.revision + 1))
    if state.revision == 0:
        done = insert_new(connection, SYSTEM_STATE, row)
    else:
        seen = {"of_account": state.account, "seen": state.revision}
        done = connection.execute(_REPLACE_STATE, row | seen).rowcount == 1
    if not done:
        stored = sa.select(SYSTEM_STATE.c.revision).where(SYSTEM_STATE.c.account == state.account)
        raise refuse_revision(state, connection.scalar(stored))
