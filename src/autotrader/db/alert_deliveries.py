"""How far each message has come on its way to a channel; within a transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from autotrader.command import to_plain
from autotrader.db.alert_tables import ALERT_DELIVERIES, ALERT_TELLINGS, ALERTS
from autotrader.db.inserts import insert_all_new
from autotrader.domain.alerts import Severity
from autotrader.domain.thresholds import ALERTING
from autotrader.plain import from_plain
from autotrader.ports.alerts import AlertState, ChannelName, Delivery, DeliveryState, Message, Telling

SEVERAL = "several"  # stands for the names that share a message, once there are too many


def claim(connection: Connection, channel: ChannelName, now: datetime) -> Delivery | None:
    """The next one that is due, whose next try is put off for as long as a try may take."""
    table = ALERT_DELIVERIES.c
    due = sa.and_(
        table.channel == channel,
        table.state == DeliveryState.WAITING,
        sa.or_(table.next_at <= now, table.attempted_at > now + ALERTING.clock_tolerance),
        sa.or_(sa.and_(table.message["firing"].as_boolean(), ~_is_acknowledged()), ~_waits_before()),
    )
    rank = sa.case(*((table.severity == severity, severity.rank) for severity in Severity))
    query = (
        sa.select(table.id)
        .where(due)
        .order_by(rank.desc(), table.created_at, table.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    found = connection.scalar(query)
    if found is None:
        return None
    connection.execute(
        sa.update(ALERT_DELIVERIES)
        .where(table.id == found)
        .values(attempts=table.attempts + 1, attempted_at=now, next_at=now + ALERTING.claim)
    )
    return delivery_of(connection.execute(_DELIVERY.where(table.id == found)).mappings().one())


def _is_acknowledged() -> sa.ColumnElement[bool]:
    # Messages from before have no word on that.
    return sa.func.coalesce(ALERT_DELIVERIES.c.message["acknowledged"].as_boolean(), sa.false())


def _waits_before() -> sa.Exists:
    """Whether an older message may say that what this one ends begins: a pager would keep that open.

    Or that what somebody is on begins: a pager knows nothing of it yet.
    """
    table, older = ALERT_DELIVERIES.c, ALERT_DELIVERIES.alias("older")
    return sa.exists().where(
        older.c.channel == table.channel,
        older.c.state == DeliveryState.WAITING,
        sa.or_(older.c.name == table.name, older.c.name == SEVERAL, table.name == SEVERAL),
        sa.or_(
            older.c.created_at < table.created_at,
            sa.and_(older.c.created_at == table.created_at, older.c.id < table.id),
        ),
    )


def finish(
    connection: Connection,
    delivery: Delivery,
    state: DeliveryState,
    now: datetime,
    *,
    error: str = "",
    next_at: datetime | None = None,
) -> bool:
    """Keep what became of this very try; False if another process has begun a later one."""
    changed = connection.execute(
        sa.update(ALERT_DELIVERIES)
        .where(
            ALERT_DELIVERIES.c.id == delivery.id,
            ALERT_DELIVERIES.c.attempts == delivery.attempts,
            ALERT_DELIVERIES.c.state == DeliveryState.WAITING,
        )
        .values(
            state=state,
            last_error=error,
            next_at=next_at or now,
            finished_at=None if state is DeliveryState.WAITING else now,
        )
    ).rowcount
    return changed == 1


def hand_over(connection: Connection, delivery: Delivery, to: ChannelName, now: datetime) -> None:
    """The same message, for another channel, which is to hear of the end, too."""
    identity = f"{delivery.id}-{to}"
    row = new_delivery(identity, to, SEVERAL, delivery.message, now)
    insert_all_new(connection, ALERT_DELIVERIES, [row | {"tried": [*delivery.tried, delivery.channel]}])
    tellings = ALERT_TELLINGS.c
    told = connection.execute(
        sa.select(tellings.alert_id, tellings.kind, tellings.name).where(tellings.delivery_id == delivery.id)
    ).mappings()
    rows = [{**row, "channel": to, "at": now, "delivery_id": identity} for row in told]
    if rows:
        connection.execute(sa.insert(ALERT_TELLINGS), rows)
    end_late(connection, identity, now)


def requeue(connection: Connection, identity: str, now: datetime) -> bool:
    """Let one that was given up wait again; False if it was not."""
    one = sa.and_(ALERT_DELIVERIES.c.id == identity, ALERT_DELIVERIES.c.state == DeliveryState.DEAD)
    waits = {"state": DeliveryState.WAITING, "attempts": 0, "next_at": now, "finished_at": None}
    if not connection.execute(sa.update(ALERT_DELIVERIES).where(one).values(waits)).rowcount:
        return False
    end_late(connection, identity, now)
    return True


def end_late(connection: Connection, identity: str, now: datetime) -> None:
    """Have the end told after this message, of what it says that it began and is over already."""
    tellings, table = ALERT_TELLINGS.c, ALERT_DELIVERIES.c
    over = connection.execute(
        sa.select(tellings.alert_id, tellings.name, tellings.channel)
        .join(ALERTS, ALERTS.c.id == tellings.alert_id)
        .join(ALERT_DELIVERIES, table.id == tellings.delivery_id)
        .where(table.id == identity, table.message["firing"].as_boolean())
        .where(ALERTS.c.state == AlertState.RESOLVED)
        .distinct()
    ).mappings()
    rows = [{**row, "kind": Telling.RESOLVED, "at": now, "delivery_id": None} for row in over]
    if rows:
        connection.execute(sa.insert(ALERT_TELLINGS), rows)


def new_delivery(
    identity: str, channel: ChannelName, name: str, told: Message, now: datetime
) -> dict[str, Any]:
    """The row of a message that waits."""
    return {
        "id": identity,
        "channel": channel,
        "name": name,
        "severity": told.severity,
        "message": to_plain(told),
        "tried": [],
        "state": DeliveryState.WAITING,
        "created_at": now,
        "attempts": 0,
        "attempted_at": None,
        "next_at": now,
        "last_error": "",
        "finished_at": None,
    }


def delivery_of(row: Mapping[Any, Any]) -> Delivery:
    return Delivery(
        **{
            **{str(name): value for name, value in row.items()},
            "message": from_plain(Message, row["message"]),
            "tried": tuple(ChannelName(name) for name in row["tried"]),
        }
    )


_DELIVERY = sa.select(*(ALERT_DELIVERIES.c[field.name] for field in fields(Delivery)))


def dead(limit: int) -> sa.Select[Any]:
    return (
        _DELIVERY.where(ALERT_DELIVERIES.c.state == DeliveryState.DEAD)
        .order_by(ALERT_DELIVERIES.c.created_at.desc(), ALERT_DELIVERIES.c.id)
        .limit(limit)
    )
