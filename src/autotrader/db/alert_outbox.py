"""From what is to be told to messages; within a transaction."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from autotrader.alerts.messages import message
from autotrader.alerts.routing import Routing
from autotrader.db.alert_deliveries import SEVERAL, new_delivery
from autotrader.db.alert_tables import ALERT_COUNTERS, ALERT_DELIVERIES, ALERT_TELLINGS, ALERTS
from autotrader.db.inserts import add_to
from autotrader.db.rows import select_fields
from autotrader.domain.alerts import Severity
from autotrader.domain.thresholds import ALERTING
from autotrader.ports.alerts import Alert, AlertState, ChannelName, Telling

MOST_OF_ALERTMANAGER = 500  # alerts of one request

_UNTOLD = ALERT_TELLINGS.c.delivery_id.is_(None)
_RANK = sa.case(
    *((ALERTS.c.severity == severity, severity.rank) for severity in Severity),
)
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Bundle:
    """Names whose alerts are told together."""

    label: str
    names: tuple[str, ...]


def tell(
    connection: Connection, told: Iterable[tuple[Alert, Telling]], routing: Routing, at: datetime
) -> None:
    """Keep that people are to be told."""
    rows = [
        {
            "alert_id": alert.id,
            "channel": channel,
            "kind": telling,
            "name": alert.name,
            "at": at,
            "delivery_id": None,
        }
        for alert, telling in told
        for channel in _channels(connection, alert, telling, routing)
    ]
    if rows:
        connection.execute(sa.insert(ALERT_TELLINGS), rows)


def compose(connection: Connection, base: str, now: datetime) -> int:
    """Make messages of all that may be told now; returns how many."""
    made = 0
    for bundle in _bundles(connection, now):
        _make_threads(connection, bundle)
        for channel in _channels_of(connection, bundle):
            for part in _parts(connection, bundle, channel):
                made += _deliver(connection, bundle, channel, part, base, now)
    return made


def count(connection: Connection, name: str, by: int = 1, *, channel: str = "", severity: str = "") -> None:
    if by:
        row = {"name": name, "channel": channel, "severity": severity, "value": by}
        add_to(connection, ALERT_COUNTERS, row, "value")


def _channels(
    connection: Connection, alert: Alert, telling: Telling, routing: Routing
) -> Sequence[ChannelName]:
    if telling not in (Telling.ACKNOWLEDGED, Telling.RESOLVED, Telling.TAKEN_BACK):
        return routing.channels(alert, telling)
    # Whoever was told of it, whatever the routes are by now.
    query = sa.select(ALERT_TELLINGS.c.channel).where(
        ALERT_TELLINGS.c.alert_id == alert.id, ALERT_TELLINGS.c.kind != Telling.ACKNOWLEDGED
    )
    told = set(connection.scalars(query.distinct()))
    by_alertmanager = told and (alert.relayed or ChannelName.ALERTMANAGER in told)
    is_asked = telling is Telling.TAKEN_BACK or (telling is Telling.ACKNOWLEDGED and by_alertmanager)
    if is_asked and alert.severity in routing.relay:
        told.add(routing.relay[alert.severity])
    if telling is Telling.ACKNOWLEDGED:
        return sorted(name for name in told if name.is_pager and name in routing.opened)
    return sorted(told)


def _bundles(connection: Connection, now: datetime) -> list[Bundle]:
    """Names that were not told a moment ago, the gravest first; those beyond the rate are one."""
    deliveries = ALERT_DELIVERIES.c
    lately = (
        sa.select(deliveries.name)
        .where(
            deliveries.created_at > now - ALERTING.group,
            deliveries.created_at <= now + ALERTING.clock_tolerance,
        )
        .where(deliveries.name == ALERT_TELLINGS.c.name)
    )
    ready = (
        sa.select(ALERT_TELLINGS.c.name)
        .join(ALERTS, ALERTS.c.id == ALERT_TELLINGS.c.alert_id)
        .where(_UNTOLD, ~lately.exists())
        .group_by(ALERT_TELLINGS.c.name)
        .order_by(sa.func.max(_RANK).desc(), ALERT_TELLINGS.c.name)
    )
    names = list(connection.scalars(ready))
    # The log is told of everything: what it was told in the last minute is what was made.
    made = connection.scalar(
        sa.select(sa.func.count()).where(
            deliveries.channel == ChannelName.LOG,
            deliveries.created_at > now - _MINUTE,
            deliveries.created_at <= now + ALERTING.clock_tolerance,
        )
    )
    room = ALERTING.messages_per_minute - int(made or 0)
    if room <= 0:
        return []
    alone, rest = (names, []) if len(names) <= room else (names[: room - 1], names[room - 1 :])
    bundles = [Bundle(name, (name,)) for name in alone]
    return [*bundles, Bundle(SEVERAL, tuple(rest))] if rest else bundles


def _make_threads(connection: Connection, bundle: Bundle) -> None:
    """Alerts that are told for the first time, together, are one incident of a pager."""
    new = (
        sa.select(ALERTS.c.id)
        .where(ALERTS.c.thread.is_(None), ALERTS.c.id.in_(_untold_ids(bundle)))
        .order_by(ALERTS.c.id)
    )
    ids = list(connection.scalars(new))
    if ids:
        thread = ids[0] if len(ids) == 1 else uuid.uuid4().hex[:16]
        connection.execute(
            sa.update(ALERTS)
            .where(ALERTS.c.thread.is_(None), ALERTS.c.id.in_(_untold_ids(bundle)))
            .values(thread=thread)
        )


def _untold_ids(bundle: Bundle) -> sa.Select[Any]:
    return sa.select(ALERT_TELLINGS.c.alert_id).where(_UNTOLD, ALERT_TELLINGS.c.name.in_(bundle.names))


def _channels_of(connection: Connection, bundle: Bundle) -> list[ChannelName]:
    query = sa.select(ALERT_TELLINGS.c.channel).where(_UNTOLD, ALERT_TELLINGS.c.name.in_(bundle.names))
    return sorted(connection.scalars(query.distinct()))


def _parts(
    connection: Connection, bundle: Bundle, channel: ChannelName
) -> list[tuple[str | None, sa.ColumnElement[bool]]]:
    """Key and condition of the alerts of each message; a pager's are of one incident each."""
    ours = ALERTS.c.id.in_(_untold_ids(bundle).where(ALERT_TELLINGS.c.channel == channel))
    if channel is ChannelName.ALERTMANAGER:
        # It is told of each alert: as many requests as that takes.
        ids = list(connection.scalars(sa.select(ALERTS.c.id).where(ours).order_by(ALERTS.c.id)))
        starts = range(0, len(ids), MOST_OF_ALERTMANAGER)
        return [(None, ALERTS.c.id.in_(ids[start : start + MOST_OF_ALERTMANAGER])) for start in starts]
    if not channel.is_pager:
        return [(None, sa.true())]
    query = sa.select(ALERTS.c.thread).where(ours).distinct()
    return [(thread, ALERTS.c.thread == thread) for thread in sorted(connection.scalars(query))]


def _deliver(
    connection: Connection,
    bundle: Bundle,
    channel: ChannelName,
    part: tuple[str | None, sa.ColumnElement[bool]],
    base: str,
    now: datetime,
) -> int:
    thread, condition = part
    untold = _untold_ids(bundle).where(ALERT_TELLINGS.c.channel == channel)
    ours = sa.and_(ALERTS.c.id.in_(untold), condition)
    most = MOST_OF_ALERTMANAGER if channel is ChannelName.ALERTMANAGER else ALERTING.listed_lines
    newest = select_fields(ALERTS, Alert).where(ours)
    order = (ALERTS.c.state == AlertState.RESOLVED, _RANK.desc(), ALERTS.c.last_at.desc(), ALERTS.c.id)
    alerts = [Alert(*row) for row in connection.execute(newest.order_by(*order).limit(most))]
    of_names = sa.select(ALERTS.c.name, sa.func.count(), sa.func.max(_RANK)).where(ours)
    names = connection.execute(of_names.group_by(ALERTS.c.name).order_by(ALERTS.c.name)).all()
    concerned = ALERTS.c.thread == thread if thread else ours
    live = sa.and_(ALERTS.c.state != AlertState.RESOLVED, concerned)
    firing = bool(connection.scalar(sa.select(sa.exists().where(live))))
    unattended = sa.exists().where(ALERTS.c.state == AlertState.OPEN, concerned)
    acknowledged = channel.is_pager and firing and not connection.scalar(sa.select(unattended))
    identity = uuid.uuid4().hex[:16]
    told = message(
        alerts,
        key=thread or identity,
        firing=firing,
        total=sum(number for _, number, _ in names),
        severity=list(Severity)[max(rank for *_, rank in names)],
        names=[name for name, *_ in names],
        base=base,
        at=now,
        acknowledged=acknowledged,
    )
    kinds = sa.select(ALERT_TELLINGS.c.kind).where(
        ALERT_TELLINGS.c.alert_id.in_(sa.select(ALERTS.c.id).where(ours)),
        _UNTOLD,
        ALERT_TELLINGS.c.channel == channel,
    )
    if set(connection.scalars(kinds.distinct())) == {Telling.ACKNOWLEDGED}:
        # The others of the incident may need somebody else.
        is_news = acknowledged
    else:
        # A pager's incident goes on while one of its alerts does: it need not hear of those that ended.
        is_news = not (channel.is_pager and firing and all(not alert.is_live for alert in alerts))
    if is_news:
        connection.execute(
            sa.insert(ALERT_DELIVERIES), [new_delivery(identity, channel, bundle.label, told, now)]
        )
    connection.execute(
        sa.update(ALERT_TELLINGS)
        .where(
            _UNTOLD,
            ALERT_TELLINGS.c.channel == channel,
            ALERT_TELLINGS.c.name.in_(bundle.names),
            ALERT_TELLINGS.c.alert_id.in_(sa.select(ALERTS.c.id).where(ours)),
        )
        .values(delivery_id=identity)
    )
    return int(is_news)
