"""Events of the business log that become alerts: which are new, and what they make of those that are live."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from autotrader.alerts import rules
from autotrader.alerts.relayed import RELAYED, incident_of
from autotrader.alerts.routing import Routing
from autotrader.alerts.sources import TYPES
from autotrader.db import alert_outbox as outbox
from autotrader.db.alert_cases import cases_to_join
from autotrader.db.alert_tables import ALERT_OCCURRENCES, ALERTS
from autotrader.db.inserts import put_all
from autotrader.db.rows import row_of, select_fields
from autotrader.db.tables import EVENTS
from autotrader.domain.alerts import Severity
from autotrader.ports.alerts import Alert, AlertState, Raising, Telling
from autotrader.ports.events import Event, EventType

SUPPRESSED = "suppressed"

_ALERT = select_fields(ALERTS, Alert)
_LIVE = ALERTS.c.state != AlertState.RESOLVED
# A transaction that recorded an event may end after one that recorded a later one, but not so much after.
_LATEST_COMMIT = timedelta(hours=1)


class Fold:
    """Alerts while events are taken up, one after the other; written at the end, all at once."""

    def __init__(self, connection: Connection, found: Sequence[Raising], now: datetime) -> None:
        self._connection = connection
        self._now = now
        marks = sorted({raising.fingerprint for raising in found})
        ours = ALERTS.c.fingerprint.in_(marks)
        ended = sa.select(ALERTS.c.fingerprint, sa.func.max(ALERTS.c.told_at)).where(ours, ~_LIVE)
        self._live = {
            a.fingerprint: a for a in (Alert(*r) for r in connection.execute(_ALERT.where(ours, _LIVE)))
        }
        told = connection.execute(ended.group_by(ALERTS.c.fingerprint))
        self._told_at: dict[str, datetime | None] = {row[0]: row[1] for row in told}
        self._cases = cases_to_join(connection)
        self._changed: dict[str, Alert] = {}
        self._tell: list[tuple[str, Telling]] = []
        self._suppressed: Counter[Severity] = Counter()

    def take(self, key: str, raising: Raising) -> str | None:
        """Id of the alert that the raising is of; None where it ends none."""
        mark = raising.fingerprint
        live = self._live.get(mark)
        outcome = rules.take(live, self._told_at.get(mark), raising, key=key, now=self._now)
        if outcome is None:
            return None
        alert = outcome.alert
        if live is None:
            alert = replace(alert, case_id=self._cases.get((alert.name, alert.instrument)))
        if outcome.tell:
            self._tell.append((alert.id, outcome.tell))
        self._suppressed[alert.severity] += outcome.suppressed
        self._changed[alert.id] = alert
        if alert.is_live:
            self._live[mark] = alert
        else:
            del self._live[mark]
            self._told_at[mark] = alert.told_at or self._told_at.get(mark)
        return alert.id

    def write(self, routing: Routing) -> None:
        if routing.by_alertmanager:
            self._changed = {name: _of_its_group(alert) for name, alert in self._changed.items()}
        # Ended ones first: at no moment are there two live ones of a fingerprint.
        ordered = sorted(self._changed.values(), key=lambda alert: alert.is_live)
        put_all(self._connection, ALERTS, [row_of(alert) for alert in ordered])
        # What was raised often at one moment is told once.
        told = dict.fromkeys(self._tell)
        outbox.tell(
            self._connection,
            [(self._changed[alert_id], telling) for alert_id, telling in told],
            routing,
            self._now,
        )
        for severity, number in sorted(self._suppressed.items()):
            outbox.count(self._connection, SUPPRESSED, number, severity=severity)


def _of_its_group(alert: Alert) -> Alert:
    """With the pager's incident that Alertmanager makes of it, unless we told of it ourselves before."""
    if alert.relayed or (alert.thread and not alert.thread.startswith(RELAYED)):
        return alert
    return replace(alert, thread=incident_of({"alertname": alert.name, "severity": alert.severity.value}))


def untaken(connection: Connection, now: datetime, limit: int) -> list[tuple[int, Event]]:
    """Events that may raise an alert and were not taken up, oldest first."""
    taken = ALERT_OCCURRENCES.c
    # Below it all are taken up: what is older needs not be looked at again and again.
    old = sa.select(taken.event_id).where(taken.taken_at < now - _LATEST_COMMIT)
    floor = connection.scalar(old.order_by(taken.event_id.desc()).limit(1))
    query = (
        sa.select(EVENTS)
        .where(
            EVENTS.c.type.in_([sa.literal_column(f"'{kind.value}'") for kind in TYPES]),
            EVENTS.c.id > (floor or 0),
            ~sa.exists().where(taken.event_id == EVENTS.c.id),
        )
        .order_by(EVENTS.c.id)
        .limit(limit)
    )
    found = connection.execute(query).mappings()
    return [
        (row["id"], Event(**{k: v for k, v in row.items() if k != "id"} | {"type": EventType(row["type"])}))
        for row in found
    ]


def forget_occurrences(before: datetime) -> sa.Delete:
    """Of alerts that are forgotten, and of none; the newest old one stays, as a floor: see `untaken`."""
    taken, others = ALERT_OCCURRENCES.c, ALERT_OCCURRENCES.alias()
    floor = sa.select(sa.func.max(others.c.event_id)).where(others.c.taken_at < before).scalar_subquery()
    is_kept = sa.exists().where(ALERTS.c.id == taken.alert_id)
    return sa.delete(ALERT_OCCURRENCES).where(taken.taken_at < before, taken.event_id < floor, ~is_kept)
