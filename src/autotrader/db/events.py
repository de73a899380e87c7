"""The business log in the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from autotrader.command import to_plain
from autotrader.db.engine import insert_all_new, insert_new, reading
from autotrader.db.rows import row_of
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
        query = sa.select(EVENTS).order_by(EVENTS.c.at.desc(), EVENTS.c.id.desc()).limit(limit).offset(offset)
        if type is not None:
            query = query.where(EVENTS.c.type == type.value)
        if severity is not None:
            query = query.where(EVENTS.c.severity == severity)
        if instrument is not None:
            query = query.where(EVENTS.c.instrument == instrument)
        if start is not None:
            query = query.where(EVENTS.c.at >= start)
        if end is not None:
            query = query.where(EVENTS.c.at < end)
        with reading(self._engine) as connection:
            return [_event(row) for row in connection.execute(query).mappings()]

    def counts(self, start: datetime, end: datetime) -> Mapping[tuple[EventType, str], int]:
        kind = (EVENTS.c.type, EVENTS.c.severity)
        query = sa.select(*kind, sa.func.count()).where(EVENTS.c.at >= start, EVENTS.c.at < end)
        with reading(self._engine) as connection:
            found = connection.execute(query.group_by(*kind)).all()
        return {(EventType(type_), severity): count for type_, severity, count in found}


def record_events(connection: Connection, events: Sequence[Event]) -> None:
    """Append several within a transaction, but for those of which the key is there already."""
    insert_all_new(connection, EVENTS, [_row(event) for event in events])


def record_event(connection: Connection, event: Event) -> bool:
    """Append within a transaction, for a change that is told if and only if it is made."""
    return insert_new(connection, EVENTS, _row(event))


def _row(event: Event) -> dict[str, object]:
    return row_of(event) | {"type": event.type.value, "data": to_plain(event.data)}


def _event(row: sa.RowMapping) -> Event:
    fields = {k: v for k, v in row.items() if k != "id"}
    return Event(**fields | {"type": EventType(row["type"])})
