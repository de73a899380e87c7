"""The business log in the database."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from autotrader.command import to_plain
from autotrader.db.engine import reading
from autotrader.db.inserts import insert_all_new, insert_new
from autotrader.db.questions import Question
from autotrader.db.rows import row_of, select_fields
from autotrader.db.statements import Executes
from autotrader.db.tables import EVENTS
from autotrader.ports.events import Event, EventType


class SqlEventLog:
    """Append-only; an entry is never changed or removed here."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, event: Event) -> bool:
        with self._engine.begin() as connection:
            return record_event(connection, event)

    def recent(
        self,
        *,
        type: EventType | None = None,
        severity: str | None = None,
        instrument: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> Sequence[Event]:
        given = {"type": type, "severity": severity, "instrument": instrument, "start": start, "end": end}
        question = _recent(tuple(name for name, value in given.items() if value is not None))
        with reading(self._engine) as connection:
            return question.all(connection, limit=limit, offset=offset, **given)

    def began_at(self) -> datetime | None:
        with reading(self._engine) as connection:
            began: datetime | None = connection.scalar(sa.select(sa.func.min(EVENTS.c.at)))
        return began

    def counts(self, start: datetime, end: datetime) -> Mapping[tuple[EventType, str], int]:
        with reading(self._engine) as connection:
            return dict(_COUNTS.all(connection, start=start, end=end))


def record_events(connection: Executes, events: Sequence[Event]) -> None:
    """Append several within a transaction, but for those of which the key is there already."""
    insert_all_new(connection, EVENTS, [_row(event) for event in events])


def record_event(connection: Executes, event: Event) -> bool:
    """Append within a transaction, for a change that is told if and only if it is made."""
    return insert_new(connection, EVENTS, _row(event))


def _row(event: Event) -> dict[str, object]:
    # PostgreSQL's text has no NUL: an error message that has one must not keep its event from being told.
    message = event.message.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return row_of(event) | {"type": event.type.value, "message": message, "data": to_plain(event.data)}


_SINCE = EVENTS.c.at >= sa.bindparam("start", type_=EVENTS.c.at.type)
_UNTIL = EVENTS.c.at < sa.bindparam("end", type_=EVENTS.c.at.type)
_COUNTS = Question(
    sa.select(EVENTS.c.type, EVENTS.c.severity, sa.func.count())
    .where(_SINCE, _UNTIL)
    .group_by(EVENTS.c.type, EVENTS.c.severity),
    lambda type, severity, count: ((EventType(type), severity), count),
)


@functools.cache
def _recent(which: tuple[str, ...]) -> Question[Event]:
    """Newest first; `which` of the bounds there are: type, severity, instrument, start, end."""
    events = EVENTS.c
    bounds: dict[str, sa.ColumnElement[bool]] = {
        "type": events.type == sa.bindparam("type", type_=sa.Text),
        "severity": events.severity == sa.bindparam("severity", type_=sa.Text),
        "instrument": events.instrument == sa.bindparam("instrument", type_=sa.Text),
        "start": _SINCE,
        "end": _UNTIL,
    }
    return Question(
        select_fields(EVENTS, Event)
        .where(*(bounds[name] for name in which))
        .order_by(events.at.desc(), events.id.desc())
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .offset(sa.bindparam("offset", type_=sa.Integer)),
        _event,
    )


def _event(key: str, type: str, *rest: Any) -> Event:
    return Event(key, EventType(type), *rest)
