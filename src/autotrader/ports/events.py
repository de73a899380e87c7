"""The business log: what happened, who did it, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable


class EventType(StrEnum):
    DATA = "DATA"
    TRADE = "TRADE"
    SIGNAL = "SIGNAL"
    ORDER = "ORDER"
    RISK = "RISK"
    DEPLOYMENT = "DEPLOYMENT"
    REGISTRY = "REGISTRY"
    RECOVERY = "RECOVERY"
    ALERT = "ALERT"
    AUDIT = "AUDIT"
    BACKUP = "BACKUP"


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the log.

    Attributes
    ----------
    key : str
        Idempotency key: recording the same key again changes nothing.
    type : EventType
    severity : str
        `info`, `warning` or `critical`.
    message : str
        One sentence for a person.
    actor : str
        Authenticated identity, or the process that acted.
    at : datetime
        Wall time, UTC.
    instrument : str or None
        `venue:symbol` where one is concerned.
    data : Mapping[str, object]
        JSON-serialisable details.
    """

    key: str
    type: EventType
    severity: str
    message: str
    actor: str
    at: datetime
    instrument: str | None = None
    data: Mapping[str, object] = field(default_factory=dict)


@runtime_checkable
class EventLog(Protocol):
    def record(self, event: Event) -> bool:
        """Append; False if an event of that key is there already."""
        ...

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
        """Of [start, end), newest first: `limit` of them after `offset`."""
        ...

    def began_at(self) -> datetime | None:
        """When the earliest of them happened; None where there is none."""
        ...

    def counts(self, start: datetime, end: datetime) -> Mapping[tuple[EventType, str], int]:
        """How many there are in [start, end) by type and severity; those that there are."""
        ...
