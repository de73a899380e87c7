"""The business log in the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from autotrader.command import to_plain
from autotrader.db.engine import insert_new, reading
from autotrader.db.tables import EVENTS
from autotrader.ports.events import Event, EventType


class SqlEventLog:
    """Append-only; an entry is never changed or removed here."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, event: Event) -> bool:
        with self._engine.begin() as connection:
            return record_event(connection, event)

    def recent(self, *, type: EventType | None = None, limit: int = 100) -> Sequence[Event]:
        query = sa.select(EVENTS).order_by(EVENTS.c.at.desc(), EVENTS.c.id.desc()).limit(limit)
        if type is not None:
            query = query.where(EVENTS.c.type == type.value)
        with reading(self._engine) as connection:
            return [_event(row) for row in connection.execute(query).mappings()]


def record_event(connection: Connection, event: Event) -> bool:
    """Append within a transaction, for a change that is told if and only if it is made."""
    row = asdict(event) | {"type": event.type.value, "data": to_plain(event.data)}
    return insert_new(connection, EVENTS, row)


def _event(row: sa.RowMapping) -> Event:
    fields = {k: v for k, v in row.items() if k != "id"}
    return Event(**fields | {"type": EventType(row["type"])})
