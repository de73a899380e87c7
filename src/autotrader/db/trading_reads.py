"""What the trader remembers, as it is read."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from autotrader.db import leases
from autotrader.db.questions import Question
from autotrader.db.rows import select_fields
from autotrader.db.trading_rules import require_no_instrument
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
from autotrader.ports.trading import (
    AccountState,
    Control,
    DeadLetter,
    EquityPoint,
    Lease,
    Page,
    Recovery,
    Signal,
)

T = TypeVar("T")


def _of(table: sa.Table, column: str = "account") -> sa.ColumnElement[bool]:
    return table.c[column] == sa.bindparam(column, type_=table.c[column].type)


_STATE = Question(select_fields(SYSTEM_STATE, AccountState).where(_of(SYSTEM_STATE)), AccountState)
_STATES = Question(select_fields(SYSTEM_STATE, AccountState).order_by(SYSTEM_STATE.c.account), AccountState)
_CASH: Question[dict[str, Decimal]] = Question(sa.select(SYSTEM_STATE.c.cash).where(_of(SYSTEM_STATE)), dict)
_POSITIONS = Question(select_fields(POSITIONS, Position).where(_of(POSITIONS)), Position)
_LEASE = Question(leases.NEWEST, Lease)
_WORKING = Question(
    select_fields(ORDERS, Order)
    .where(_of(ORDERS), WORKING)
    .order_by(ORDERS.c.decided_at, ORDERS.c.client_order_id),
    Order,
)
_ORDER = Question(select_fields(ORDERS, Order).where(_of(ORDERS, "client_order_id")), Order)
_UNANSWERED = Question(
    select_fields(CONTROLS, Control)
    .where(_of(CONTROLS), CONTROLS.c.answered_at.is_(None))
    .order_by(CONTROLS.c.asked_at, CONTROLS.c.id),
    Control,
)
_CONTROL = Question(select_fields(CONTROLS, Control).where(_of(CONTROLS, "id")), Control)


class SqlTradingReads:
    """Accounts, orders, fills, positions.

    Parameters
    ----------
    connected : Callable
        A connection for queries, each time that something is asked.
    """

    def __init__(self, connected: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._connected = connected

    def lease(self, account: str) -> Lease | None:
        return self._first(_LEASE, of_account=account)

    def state(self, account: str) -> AccountState | None:
        return self._first(_STATE, account=account)

    def accounts(self) -> Sequence[AccountState]:
        return self._all(_STATES)

    def holdings(self, account: str) -> Holdings:
        with self._connected() as connection:
            cash = _CASH.first(connection, account=account)
            positions = _POSITIONS.all(connection, account=account)
        return Holdings(account, cash or {}, {position.instrument: position for position in positions})

    def working_orders(self, account: str) -> Sequence[Order]:
        return self._all(_WORKING, account=account)

    def order(self, client_order_id: str) -> Order | None:
        return self._first(_ORDER, client_order_id=client_order_id)

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
        with self._connected() as connection:
            return connection.scalars(times).all()

    def known_fills(self, account: str, since: datetime) -> frozenset[tuple[InstrumentId, str]]:
        query = sa.select(FILLS.c.instrument, FILLS.c.fill_id).where(
            FILLS.c.account == account, FILLS.c.at >= since
        )
        with self._connected() as connection:
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

    def unanswered(self, account: str) -> Sequence[Control]:
        return self._all(_UNANSWERED, account=account)

    def control(self, control_id: str) -> Control | None:
        return self._first(_CONTROL, id=control_id)

    def strategy_enabled(self, strategy_id: str) -> bool:
        query = sa.select(STRATEGIES.c.enabled).where(STRATEGIES.c.id == strategy_id)
        with self._connected() as connection:
            return connection.scalar(query) is not False

    def _page(
        self, kind: type[Any], table: sa.Table, account: str, page: Page, time: str, *ties: str
    ) -> Sequence[Any]:
        given = {name: getattr(page, name) for name in ("start", "end", "instrument")}
        which = tuple(name for name, value in given.items() if value is not None)
        question = _paged(kind, table, which, time, *ties)  # type: ignore[arg-type] # a class has a hash
        return self._all(question, account=account, limit=page.limit, offset=page.offset, **given)

    def _all(self, question: Question[T], **values: object) -> list[T]:
        with self._connected() as connection:
            return question.all(connection, **values)

    def _first(self, question: Question[T], **values: object) -> T | None:
        with self._connected() as connection:
            return question.first(connection, **values)


@functools.cache
def _paged(kind: type[Any], table: sa.Table, which: tuple[str, ...], time: str, *ties: str) -> Question[Any]:
    """Newest first by the column `time`; of one instant, by the columns `ties`.

    Parameters
    ----------
    which : tuple of str
        Bounds that there are: `start`, `end`, `instrument`.
    """
    at = table.c[time]
    bounds: dict[str, sa.ColumnElement[bool]] = {
        "start": at >= sa.bindparam("start", type_=at.type),
        "end": at < sa.bindparam("end", type_=at.type),
    }
    if "instrument" in which:
        bounds["instrument"] = _of(table, "instrument")
    return Question(
        select_fields(table, kind)
        .where(_of(table), *(bounds[name] for name in which))
        .order_by(at.desc(), *(table.c[name] for name in ties))
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .offset(sa.bindparam("offset", type_=sa.Integer)),
        kind,
    )
