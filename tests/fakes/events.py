"""An event log that forgets with the process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from autotrader.ports.events import Event, EventType


class InMemoryEventLog:
    def __init__(self) -> None:
        self.events: dict[str, Event] = {}

    def record(self, event: Event) -> bool:
        if event.key in self.events:
            return False
        self.events[event.key] = event
        return True

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
        found = [
            event
            for event in self._between(start, end)
            if (type is None or event.type is type)
            and (severity is None or event.severity == severity)
            and (instrument is None or event.instrument == instrument)
        ]
        # Of one instant, the one recorded last is the newest.
        return sorted(found, key=lambda e: e.at)[::-1][offset : offset + limit]

    def began_at(self) -> datetime | None:
        return min((event.at for event in self.events.values()), default=None)

    def counts(self, start: datetime, end: datetime) -> Mapping[tuple[EventType, str], int]:
        return Counter((event.type, event.severity) for event in self._between(start, end))

    def _between(self, start: datetime | None, end: datetime | None) -> Iterator[Event]:
        for event in self.events.values():
            if (start is None or event.at >= start) and (end is None or event.at < end):
                yield event
