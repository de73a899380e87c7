"""How it is audited that a job is cancelled, whoever does it."""

from __future__ import annotations

from datetime import datetime

from autotrader.ports.events import Event, EventType


def cancelled(job_id: str, actor: str, at: datetime) -> Event:
    """Once a job: it is cancelled once."""
    return Event(
        key=f"job/{job_id}/cancelled",
        type=EventType.AUDIT,
        severity="info",
        message=f"{actor} cancelled the job {job_id}",
        actor=actor,
        at=at,
        data={"job": job_id},
    )
