"""What the business log is told of backups: `backup_last_success_timestamp_seconds` is read from it.

The newest success: `events.recent(type=EventType.BACKUP, severity="info", limit=1)`, its `at`.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from autotrader.config.actor import operator
from autotrader.config.settings import Settings
from autotrader.continuity.places import MAIN, places_of
from autotrader.continuity.sets import BackupSet
from autotrader.db.dumps import database_of
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.domain.errors import AutotraderError
from autotrader.ports.clock import WallClock
from autotrader.ports.events import Event, EventType

log = structlog.get_logger(__name__)


def succeeded(settings: Settings, clock: WallClock, made: BackupSet, *, uri: str) -> None:
    """A set is complete."""
    _record(
        settings,
        clock,
        key=f"backup-{made.id}",
        severity="info",
        message=f"backup set {made.id} is complete ({made.size:,} bytes)",
        data={"component": "BACKUP", "set": made.id, "as_of": made.as_of, "bytes": made.size, "uri": uri},
    )


def failed(settings: Settings, clock: WallClock, error: AutotraderError) -> None:
    """A backup came to nothing; where the database is what does not answer, the log must do."""
    try:
        if database_of(places_of(settings).databases[MAIN]).exists():
            _record(
                settings,
                clock,
                key=f"backup-failed-{clock.now():%Y%m%dT%H%M%S%f}",
                severity="critical",
                message=f"no backup was made: {error}",
                data={"component": "BACKUP", "error": type(error).__name__},
            )
    except AutotraderError as silent:
        log.error("the failed backup could not be recorded", reason=str(silent), failure=str(error))


def drilled(settings: Settings, clock: WallClock, *, passed: bool, data: Mapping[str, object]) -> None:
    """A disaster was rehearsed; where there is no database to tell, nobody is told."""
    if not database_of(places_of(settings).databases[MAIN]).exists():
        return
    _record(
        settings,
        clock,
        type=EventType.RECOVERY,
        key=f"drill-{clock.now():%Y%m%dT%H%M%S%f}",
        severity="info" if passed else "critical",
        message=f"disaster drill {data['scenario']}: {'targets met' if passed else 'FAILED'}",
        data=data,
    )


def _record(
    settings: Settings,
    clock: WallClock,
    *,
    key: str,
    severity: str,
    message: str,
    data: Mapping[str, object],
    type: EventType = EventType.BACKUP,
) -> None:
    engine = open_database(settings.database_url)
    try:
        SqlEventLog(engine).record(
            Event(
                key=key,
                type=type,
                severity=severity,
                message=message,
                actor=operator(),
                at=clock.now(),
                data=data,
            )
        )
    finally:
        engine.dispose()
