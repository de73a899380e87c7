"""What the audit trail says of those who change alerts and cases."""

from __future__ import annotations

from datetime import datetime

from autotrader.ports.events import Event, EventType


def audit(what: str, subject: str, said: str, *, actor: str, at: datetime) -> Event:
    """An entry for one change of one alert or case."""
    return Event(
        key=f"{what}/{subject}/{at.isoformat()}",
        type=EventType.AUDIT,
        severity="info",
        message=said,
        actor=actor,
        at=at,
        data={"subject": subject, "change": what},
    )
