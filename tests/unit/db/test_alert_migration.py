"""What happened before there were alerts is history."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

import autotrader.db.schema as schema
from autotrader.alerts.routing import Routing
from autotrader.db.alerts import SqlAlerts
from autotrader.db.engine import connect, open_database
from autotrader.db.events import SqlEventLog
from autotrader.ports.events import Event, EventType
from tests.services import empty_database

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def test_nobody_is_woken_for_what_happened_before_the_migration(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = empty_database(kind, tmp_path)
    with monkeypatch.context() as before:
        before.setattr(schema, "HEAD", "0004")
        open_database(url).dispose()
    engine = connect(url)
    log = SqlEventLog(engine)
    log.record(Event("old", EventType.ALERT, "critical", "long ago", "tests", NOW))
    engine.dispose()
    engine = open_database(url)
    log = SqlEventLog(engine)
    log.record(Event("new", EventType.ALERT, "critical", "now", "tests", NOW))
    alerts = SqlAlerts(engine, Routing(), runbooks="runbooks")
    alerts.take_up(NOW)
    assert [alert.message for alert in alerts.list()] == ["now"]
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM alert_occurrences")) == 2
