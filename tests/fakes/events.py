"""An event log that forgets with the process."""

from __future__ import annotations

from collections.abc import Sequence

from autotrader.ports.events import Event, EventType


class InMemoryEventLog:
    def __init__(self) -> None:
        self.events: dict[str, Event] = {}

    def record(self, event: Event) -> bool:
        if event.key in self.events:
            return False
        self.events[event.key] = event
        return True

    def recent(self, *, type: EventType | None = None, limit: int = 100) -> Sequence[Event]:
        # Of one instant, the one recorded last is the newest.
        in_order = sorted(self.events.values(), key=lambda e: e.at)
        return [e for e in reversed(in_order) if type is None or e.type is type][:limit]
