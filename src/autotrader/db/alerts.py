"""Alerts in the database: the outbox takes up the business log, and gives out messages."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from autotrader.alerts import rules
from autotrader.alerts.routing import Routing
from autotrader.alerts.sources import raisings
from autotrader.db import alert_deliveries as deliveries
from autotrader.db import alert_outbox as outbox
from autotrader.db.alert_cases import SqlCases
from autotrader.db.alert_intake import SUPPRESSED, Fold, forget_occurrences, untaken
from autotrader.db.alert_tables import (
    ALERT_COUNTERS,
    ALERT_DELIVERIES,
    ALERT_OCCURRENCES,
    ALERT_TELLINGS,
    ALERTS,
)
from autotrader.db.engine import reading
from autotrader.db.events import record_event
from autotrader.db.inserts import insert_all_new, put_all
from autotrader.db.locks import serialise
from autotrader.db.questions import Question
from autotrader.db.rows import names_of, row_of, select_fields
from autotrader.db.tables import EVENTS
from autotrader.domain.errors import NotFound
from autotrader.domain.thresholds import ALERTING
from autotrader.ports.alerts import (
    Alert,
    AlertEvent,
    AlertState,
    ChannelName,
    Delivery,
    DeliveryState,
    Telling,
    Totals,
)
from autotrader.ports.events import Event, EventType

SENT, FAILED = "sent", "failed"

_LOCK = "alerts"
_ALERT = select_fields(ALERTS, Alert)
_EVENT = names_of(Event)
_LIVE = ALERTS.c.state != AlertState.RESOLVED


class SqlAlerts(SqlCases):
    """Changes of alerts are one after the other; messages are given out side by side.

    Parameters
    ----------
    engine : Engine
    routing : Routing
    runbooks : str
        What the path of a runbook is added to.
    """

    def __init__(self, engine: Engine, routing: Routing, *, runbooks: str) -> None:
        super().__init__(engine)
        self._routing = routing
        self._runbooks = runbooks

    def take_up(self, now: datetime, *, limit: int = 500) -> int:
        with self._engine.begin() as connection:
            serialise(connection, _LOCK)
            events = untaken(connection, now, limit)
            fold = Fold(connection, [r for _, event in events for r in raisings(event)], now)
            occurrences = []
            for event_id, event in events:
                taken = [fold.take(event.key, raising) for raising in raisings(event)]
                alert_id = next((alert_id for alert_id in taken if alert_id), None)
                occurrences.append({"event_id": event_id, "alert_id": alert_id, "taken_at": now})
            fold.write(self._routing)
            insert_all_new(connection, ALERT_OCCURRENCES, occurrences)
        return len(events)

    def review(self, now: datetime, *, limit: int = 500) -> int:
        is_due = sa.or_(
            ALERTS.c.review_at <= now,
            sa.and_(ALERTS.c.review_at.is_not(None), ALERTS.c.stamped_at > now + ALERTING.clock_tolerance),
        )
        query = _ALERT.where(_LIVE, is_due).order_by(ALERTS.c.review_at, ALERTS.c.id).limit(limit)
        with self._engine.begin() as connection:
            serialise(connection, _LOCK)
            found = [Alert(*row) for row in connection.execute(query)]
            outcomes = [
                rules.review(alert, now, escalates=not (alert.relayed or self._routing.by_alertmanager))
                for alert in found
            ]
            put_all(connection, ALERTS, [row_of(outcome.alert) for outcome in outcomes])
            told = [(outcome.alert, outcome.tell) for outcome in outcomes if outcome.tell]
            outbox.tell(connection, told, self._routing, now)
        return len(found)

    def compose(self, now: datetime) -> int:
        with self._engine.begin() as connection:
            serialise(connection, _LOCK)
            return outbox.compose(connection, self._runbooks, now)

    def claim(self, channel: ChannelName, now: datetime) -> Delivery | None:
        with self._engine.begin() as connection:
            return deliveries.claim(connection, channel, now)

    def sent(self, delivery: Delivery, now: datetime) -> None:
        with self._engine.begin() as connection:
            if deliveries.finish(connection, delivery, DeliveryState.SENT, now):
                outbox.count(connection, SENT, channel=delivery.channel, severity=delivery.severity)

    def failed(
        self, delivery: Delivery, now: datetime, *, error: str, again_after_seconds: float | None
    ) -> None:
        with self._engine.begin() as connection:
            if again_after_seconds is not None:
                next_at = now + timedelta(seconds=again_after_seconds)
                deliveries.finish(
                    connection, delivery, DeliveryState.WAITING, now, error=error, next_at=next_at
                )
                return
            # Or an alert ends just now, and the channel that is asked instead never hears of that.
            serialise(connection, _LOCK)
            if deliveries.finish(connection, delivery, DeliveryState.DEAD, now, error=error):
                tried = (*delivery.tried, delivery.channel)
                told = delivery.message
                is_asked = told.firing and not told.acknowledged
                to = self._routing.instead(delivery.severity, tried) if is_asked else None
                if to is not None:
                    deliveries.hand_over(connection, delivery, to, now)
                outbox.count(connection, FAILED, channel=delivery.channel)

    def requeue(self, delivery_id: str, now: datetime) -> bool:
        with self._engine.begin() as connection:
            serialise(connection, _LOCK)
            return deliveries.requeue(connection, delivery_id, now)

    def get(self, alert_id: str) -> Alert:
        with reading(self._engine) as connection:
            return _get(connection, alert_id)

    def list(
        self, *, states: Sequence[AlertState] = (), limit: int = 100, offset: int = 0
    ) -> Sequence[Alert]:
        query = _ALERT.order_by(ALERTS.c.opened_at.desc(), ALERTS.c.id).limit(limit).offset(offset)
        if states:
            query = query.where(ALERTS.c.state.in_(states))
        with reading(self._engine) as connection:
            return [Alert(*row) for row in connection.execute(query)]

    def ended(self, since: datetime, *, limit: int = 100) -> Sequence[Alert]:
        query = _ALERT.where(ALERTS.c.state == AlertState.RESOLVED, ALERTS.c.resolved_at >= since)
        with reading(self._engine) as connection:
            newest = query.order_by(ALERTS.c.resolved_at.desc(), ALERTS.c.id).limit(limit)
            return [Alert(*row) for row in connection.execute(newest)]

    def ended_by_hand(self, fingerprints: Sequence[str]) -> Mapping[str, datetime]:
        query = sa.select(ALERTS.c.fingerprint, sa.func.max(ALERTS.c.resolved_at)).where(
            ALERTS.c.fingerprint.in_(fingerprints), ~_LIVE, ALERTS.c.resolved_by != rules.ITSELF
        )
        with reading(self._engine) as connection:
            found = connection.execute(query.group_by(ALERTS.c.fingerprint))
            return {row[0]: row[1] for row in found}

    def history(
        self,
        *,
        start: datetime,
        end: datetime,
        severity: str | None = None,
        instrument: str | None = None,
        state: AlertState | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> Sequence[AlertEvent]:
        given = {"severity": severity, "instrument": instrument, "state": state}
        question = _history(tuple(name for name, value in given.items() if value is not None))
        with reading(self._engine) as connection:
            return question.all(connection, start=start, end=end, limit=limit, offset=offset, **given)

    def acknowledge(self, alert_id: str, *, actor: str, now: datetime, event: Event) -> bool:
        with self._engine.begin() as connection:
            serialise(connection, _LOCK)
            alert = _get(connection, alert_id)
            if alert.state in (AlertState.ACKNOWLEDGED, AlertState.RESOLVED):
                return False
            acknowledged = rules.acknowledge(alert, actor=actor, now=now)
            put_all(connection, ALERTS, [row_of(acknowledged)])
            outbox.tell(connection, [(acknowledged, Telling.ACKNOWLEDGED)], self._routing, now)
            record_event(connection, event)
        return True

    def resolve(self, alert_id: str, *, actor: str, reason: str, now: datetime, event: Event) -> bool:
        with self._engine.begin() as connection:
            serialise(connection, _LOCK)
            alert = _get(connection, alert_id)
            if not alert.is_live:
                return False
            outcome = rules.resolve(alert, actor=actor, reason=reason, now=now)
            put_all(connection, ALERTS, [row_of(outcome.alert)])
            if outcome.tell:
                outbox.tell(connection, [(outcome.alert, outcome.tell)], self._routing, now)
            record_event(connection, event)
        return True

    def dead_letters(self, *, limit: int = 100) -> Sequence[Delivery]:
        with reading(self._engine) as connection:
            return [
                deliveries.delivery_of(row) for row in connection.execute(deliveries.dead(limit)).mappings()
            ]

    def totals(self) -> Totals:
        state = ALERT_DELIVERIES.c.state
        waits, dead = state == DeliveryState.WAITING, state == DeliveryState.DEAD
        with reading(self._engine) as connection:
            counted = connection.execute(sa.select(ALERT_COUNTERS)).mappings().all()
            kinds = sa.select(ALERTS.c.severity, ALERTS.c.state, sa.func.count()).where(_LIVE)
            live = connection.execute(kinds.group_by(ALERTS.c.severity, ALERTS.c.state)).all()
            waiting, oldest = connection.execute(
                sa.select(sa.func.count(), sa.func.min(ALERT_DELIVERIES.c.created_at)).where(waits)
            ).one()
            given_up = connection.scalar(sa.select(sa.func.count()).where(dead))
        return Totals(
            sent={(c["channel"], c["severity"]): c["value"] for c in counted if c["name"] == SENT},
            failed={c["channel"]: c["value"] for c in counted if c["name"] == FAILED},
            suppressed={c["severity"]: c["value"] for c in counted if c["name"] == SUPPRESSED},
            live={(severity, state): number for severity, state, number in live},
            waiting=waiting,
            dead=int(given_up or 0),
            oldest_waiting_at=oldest,
        )

    def forget(self, before: datetime) -> int:
        old = sa.select(ALERTS.c.id).where(
            ALERTS.c.state == AlertState.RESOLVED, ALERTS.c.resolved_at < before, ALERTS.c.case_id.is_(None)
        )
        ended = sa.and_(
            ALERT_DELIVERIES.c.state != DeliveryState.WAITING, ALERT_DELIVERIES.c.created_at < before
        )
        with self._engine.begin() as connection:
            serialise(connection, _LOCK)
            connection.execute(sa.delete(ALERT_TELLINGS).where(ALERT_TELLINGS.c.alert_id.in_(old)))
            connection.execute(sa.delete(ALERT_DELIVERIES).where(ended))
            forgotten = connection.execute(sa.delete(ALERTS).where(ALERTS.c.id.in_(old))).rowcount
            connection.execute(forget_occurrences(before))
            return forgotten


def _get(connection: Connection, alert_id: str) -> Alert:
    row = connection.execute(_ALERT.where(ALERTS.c.id == alert_id)).first()
    if row is None:
        raise NotFound(
            f"expected the id of an alert, was {alert_id[:64]!r}: `autotrader alerts list` shows them"
        )
    return Alert(*row)


@functools.cache
def _history(which: tuple[str, ...]) -> Question[AlertEvent]:
    """Newest first, of a span; `which` of the other bounds there are: severity, instrument, state."""
    events = EVENTS.c
    joined = EVENTS.outerjoin(ALERT_OCCURRENCES, ALERT_OCCURRENCES.c.event_id == events.id)
    joined = joined.outerjoin(ALERTS, ALERTS.c.id == ALERT_OCCURRENCES.c.alert_id)
    bounds: dict[str, sa.ColumnElement[bool]] = {
        "severity": events.severity == sa.bindparam("severity", type_=sa.Text),
        "instrument": events.instrument == sa.bindparam("instrument", type_=sa.Text),
        "state": ALERTS.c.state == sa.bindparam("state", type_=ALERTS.c.state.type),
    }
    return Question(
        sa.select(*(events[name].label(f"event_{name}") for name in _EVENT), *_ALERT.selected_columns)
        .select_from(joined)
        .where(
            events.type == EventType.ALERT.value,
            events.at >= sa.bindparam("start", type_=events.at.type),
            events.at < sa.bindparam("end", type_=events.at.type),
            *(bounds[name] for name in which),
        )
        .order_by(events.at.desc(), events.id.desc())
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .offset(sa.bindparam("offset", type_=sa.Integer)),
        _alert_event,
    )


def _alert_event(*values: Any) -> AlertEvent:
    key, kind, severity, message, actor, at, instrument, data, *alert = values
    found = None if alert[0] is None else Alert(*alert)
    return AlertEvent(key, EventType(kind), severity, message, actor, at, instrument, data, found)
