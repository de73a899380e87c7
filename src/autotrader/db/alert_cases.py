"""Cases in the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from autotrader.db.alert_tables import ALERT_CASE_ENTRIES, ALERT_CASES, ALERTS
from autotrader.db.engine import reading
from autotrader.db.events import record_event
from autotrader.db.inserts import insert_new
from autotrader.db.rows import row_of, select_fields
from autotrader.domain.errors import NotFound, Refused
from autotrader.ports.alerts import Alert, Case, CaseEntry
from autotrader.ports.events import Event

_COLUMNS = tuple(column for column in ALERT_CASES.c)
_ENTRIES = ALERT_CASE_ENTRIES.c


class SqlCases:
    """Alerts that belong together; a case that was closed is kept."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open_case(self, case: Case, alert_ids: Sequence[str], event: Event) -> None:
        with self._engine.begin() as connection:
            row = {name: value for name, value in row_of(case).items() if name in ALERT_CASES.c}
            if not insert_new(connection, ALERT_CASES, row):
                return
            for alert_id in alert_ids:
                joined = sa.update(ALERTS).where(ALERTS.c.id == alert_id).values(case_id=case.id)
                if not connection.execute(joined).rowcount:
                    raise NotFound(f"expected the id of an alert, was {alert_id[:64]!r}: nothing was opened")
            _write(connection, case.id, CaseEntry(case.opened_at, case.opened_by, f"opened: {case.title}"))
            record_event(connection, event)

    def note(self, case_id: str, entry: CaseEntry) -> None:
        with self._engine.begin() as connection:
            if _case(connection, case_id).closed_at is not None:
                raise Refused(f"expected an open case, was {case_id}, which is closed: open another")
            _write(connection, case_id, entry)

    def close_case(self, case_id: str, *, actor: str, outcome: str, now: datetime, event: Event) -> bool:
        is_open = sa.and_(ALERT_CASES.c.id == case_id, ALERT_CASES.c.closed_at.is_(None))
        with self._engine.begin() as connection:
            _case(connection, case_id)
            values = {"closed_at": now, "closed_by": actor, "outcome": outcome}
            if not connection.execute(sa.update(ALERT_CASES).where(is_open).values(values)).rowcount:
                return False
            _write(connection, case_id, CaseEntry(now, actor, f"closed: {outcome}"))
            record_event(connection, event)
        return True

    def case(self, case_id: str) -> Case:
        with reading(self._engine) as connection:
            case = _case(connection, case_id)
            ours = select_fields(ALERTS, Alert).where(ALERTS.c.case_id == case_id)
            alerts = connection.execute(ours.order_by(ALERTS.c.first_at, ALERTS.c.id))
            entries = sa.select(_ENTRIES.at, _ENTRIES.actor, _ENTRIES.text).where(_ENTRIES.case_id == case_id)
            timeline = connection.execute(entries.order_by(_ENTRIES.at, _ENTRIES.id))
            return replace(
                case,
                alerts=tuple(Alert(*row) for row in alerts),
                timeline=tuple(CaseEntry(*row) for row in timeline),
            )

    def cases(self, *, open_only: bool = True, limit: int = 100) -> Sequence[Case]:
        query = sa.select(*_COLUMNS).order_by(ALERT_CASES.c.opened_at.desc(), ALERT_CASES.c.id).limit(limit)
        if open_only:
            query = query.where(ALERT_CASES.c.closed_at.is_(None))
        with reading(self._engine) as connection:
            return [Case(**row) for row in connection.execute(query).mappings()]


def cases_to_join(connection: Connection) -> dict[tuple[str, str | None], str]:
    """By name and instrument of its alerts, the newest open case: there new ones of them belong, too."""
    query = (
        sa.select(ALERTS.c.name, ALERTS.c.instrument, ALERT_CASES.c.id, ALERT_CASES.c.opened_at)
        .join(ALERTS, ALERTS.c.case_id == ALERT_CASES.c.id)
        .where(ALERT_CASES.c.closed_at.is_(None))
        .distinct()
        .order_by(ALERT_CASES.c.opened_at)
    )
    return {(name, instrument): case_id for name, instrument, case_id, _ in connection.execute(query)}


def _case(connection: Connection, case_id: str) -> Case:
    query = sa.select(*_COLUMNS).where(ALERT_CASES.c.id == case_id)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFound(f"expected the id of a case, was {case_id[:64]!r}: `autotrader case list` shows them")
    return Case(**row)


def _write(connection: Connection, case_id: str, entry: CaseEntry) -> None:
    connection.execute(sa.insert(ALERT_CASE_ENTRIES), [{"case_id": case_id, **row_of(entry)}])
