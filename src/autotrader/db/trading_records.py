"""What the trader remembers, in the database.

A change is one transaction that begins by asking whether its lease is still held; it is on the disk
when `write` returns (SQLite: `synchronous` is FULL; with NORMAL a power cut takes back the last
commits, and so an order that was sent already).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect, Engine

from autotrader.db import leases
from autotrader.db.direct import writing
from autotrader.db.engine import reading
from autotrader.db.events import record_event, record_events
from autotrader.db.inserts import (
    add_values,
    insert_new,
    prepare_add,
    prepare_put,
    put_all,
    put_values,
    set_once,
)
from autotrader.db.locks import serialise
from autotrader.db.rows import names_of, row_of
from autotrader.db.statements import Executes, execute_one, prepare
from autotrader.db.tables import EVENTS
from autotrader.db.trading_reads import SqlTradingReads
from autotrader.db.trading_rules import (
    event_of_strategy,
    refuse_lost,
    refuse_revision,
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
)
from autotrader.domain.orders import Fill, Order
from autotrader.domain.positions import ClosedTrade, Position
from autotrader.ports.events import Event
from autotrader.ports.trading import (
    AccountState,
    Change,
    Control,
    EquityPoint,
    Lease,
    Signal,
)

_SLICE = timedelta(days=1)
_OF_ACCOUNT = SYSTEM_STATE.c.account == sa.bindparam("of_account")
_BEAT = sa.update(SYSTEM_STATE).where(_OF_ACCOUNT)
_REVISION = sa.select(SYSTEM_STATE.c.revision).where(_OF_ACCOUNT)
_REPLACE_STATE = sa.update(SYSTEM_STATE).where(_OF_ACCOUNT, SYSTEM_STATE.c.revision == sa.bindparam("seen"))

_INSERTED: tuple[tuple[sa.Table, type], ...] = (
    (FILLS, Fill),
    (TRADES, ClosedTrade),
    (EQUITY, EquityPoint),
    (SIGNALS, Signal),
    (EVENTS, Event),
)


class SqlTradingRecords(SqlTradingReads):
    """Accounts, orders, fills, positions, and the lease on them.

    Parameters
    ----------
    engine : Engine
        Of a migrated database.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(functools.partial(reading, engine))
        self._engine = engine

    @contextlib.contextmanager
    def at_once(self) -> Iterator[SqlTradingReads]:
        with reading(self._engine) as connection:
            yield SqlTradingReads(lambda: contextlib.nullcontext(connection))

    # ------------------------------------------------------------------------------- the lease

    def acquire(
        self, account: str, owner: str, *, now: datetime, seconds: float, silent: Lease | None = None
    ) -> Lease | None:
        with self._engine.begin() as connection:
            _prepare(connection.dialect)
            return leases.take(connection, account, owner, now, seconds, silent)

    def renew(self, lease: Lease, *, now: datetime, seconds: float) -> Lease:
        with self._engine.begin() as connection:
            renewed = leases.prolong(connection, lease, now, seconds)
            connection.execute(_BEAT, {"of_account": lease.account, "heartbeat_at": now})
            return renewed

    def release(self, lease: Lease, *, now: datetime) -> None:
        with self._engine.begin() as connection:
            leases.give_back(connection, lease, now)

    # -------------------------------------------------------------------------------- changing

    def write(self, lease: Lease, change: Change) -> None:
        require_own(lease, change)
        with writing(self._engine) as transaction:
            is_held = leases.is_held(transaction, lease)
            if is_held:
                _write(transaction, change)
        if not is_held:
            raise refuse_lost(lease, self.lease(lease.account))

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

    # ------------------------------------------------------------------ what persons ask for

    def ask(self, control: Control) -> None:
        with self._engine.begin() as connection:
            insert_new(connection, CONTROLS, row_of(control))

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


def _prepare(dialect: Dialect) -> None:
    """Do beforehand what the first order would else wait for."""
    leases.prepare_is_held(dialect)
    prepare(dialect, _REPLACE_STATE, names_of(AccountState))
    prepare_put(dialect, ORDERS, Order)
    prepare_put(dialect, POSITIONS, Position)
    for table, kind in _INSERTED:
        prepare_add(dialect, table, kind)


def _write(transaction: Executes, change: Change) -> None:
    if change.state is not None:
        _put_state(transaction, change.state)
    put_values(transaction, ORDERS, change.orders)
    add_values(transaction, FILLS, change.fills)
    put_values(transaction, POSITIONS, change.positions)
    add_values(transaction, TRADES, change.trades)
    add_values(transaction, EQUITY, change.equity)
    add_values(transaction, SIGNALS, change.signals)
    add_values(transaction, ORDER_DEAD_LETTERS, change.dead_letters)
    set_once(transaction, RECOVERY_EVENTS, change.recoveries, "acknowledged_at", "acknowledged_by")
    set_once(transaction, CONTROLS, change.answered, "answered_at", "answer")
    record_events(transaction, change.events)


def _put_state(transaction: Executes, state: AccountState) -> None:
    row = row_of(state) | {"revision": state.revision + 1}
    if state.revision == 0:
        done = insert_new(transaction, SYSTEM_STATE, row)
    else:
        seen = {"of_account": state.account, "seen": state.revision}
        done = execute_one(transaction, _REPLACE_STATE, row | seen, tuple(row)).rowcount == 1
    if not done:
        stored = execute_one(transaction, _REVISION, {"of_account": state.account}).fetchone()
        raise refuse_revision(state, None if stored is None else stored[0])
