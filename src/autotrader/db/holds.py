"""Holds in the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from autotrader.db.engine import reading
from autotrader.db.inserts import insert_new
from autotrader.db.tables import HOLDS
from autotrader.domain.errors import NotFound
from autotrader.domain.instruments import InstrumentId
from autotrader.ports.holds import Hold


class SqlHolds:
    """A hold that ended is kept, and comes into force again when it is placed again."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def place(self, hold: Hold) -> bool:
        row = {
            "id": hold.id,
            "instrument": None if hold.instrument is None else str(hold.instrument),
            "start": hold.start,
            "end": hold.end,
            "reason": hold.reason,
            "actor": hold.actor,
            "placed_at": hold.placed_at,
            "released_at": None,
            "released_by": None,
        }
        ended = sa.and_(HOLDS.c.id == hold.id, HOLDS.c.released_at.is_not(None))
        with self._engine.begin() as connection:
            if insert_new(connection, HOLDS, row):
                return True
            return connection.execute(sa.update(HOLDS).where(ended).values(row)).rowcount == 1

    def release(self, hold_id: str, *, actor: str, at: datetime) -> bool:
        one = HOLDS.c.id == hold_id
        with self._engine.begin() as connection:
            ended = connection.execute(
                sa.update(HOLDS)
                .where(one, HOLDS.c.released_at.is_(None))
                .values(released_at=at, released_by=actor)
            ).rowcount
            if not ended and connection.scalar(sa.select(sa.func.count()).where(one)) == 0:
                raise NotFound(f"expected a hold, was {hold_id!r}: there is none of that id")
        return ended == 1

    def in_force(self) -> Sequence[Hold]:
        return self._select(HOLDS.c.released_at.is_(None))

    def all(self) -> Sequence[Hold]:
        return self._select(sa.true())

    def _select(self, condition: sa.ColumnElement[bool]) -> Sequence[Hold]:
        query = sa.select(HOLDS).where(condition).order_by(HOLDS.c.placed_at, HOLDS.c.id)
        with reading(self._engine) as connection:
            return [_hold(row) for row in connection.execute(query).mappings()]


def _hold(row: sa.RowMapping) -> Hold:
    fields = {k: v for k, v in row.items() if k != "released_by"}
    instrument = row["instrument"]
    return Hold(**fields | {"instrument": instrument and InstrumentId.parse(instrument)})
