"""The business log."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Response
from fastapi import Query as FromQuery

from autotrader.apps.api.bodies import EventBody, EventSummaryBody, Listing
from autotrader.apps.api.queries import EventSpan, SummarySpan
from autotrader.apps.api.shapes import answer
from autotrader.apps.api.sources import Sources
from autotrader.domain.thresholds import API
from autotrader.ports.events import EventType

_DEFAULT = timedelta(hours=API.listed_hours)
# A moment may pass between an event's time and its row: without an end, all that there is.
_TICK = timedelta(microseconds=1)


def event_routes(sources: Sources) -> APIRouter:
    router = APIRouter(tags=["events"])

    def span(start: datetime | None, end: datetime | None) -> tuple[datetime, datetime]:
        until = end or sources.clock.now() + _TICK
        return start or until - _DEFAULT, until

    @router.get("/api/events", response_model=Listing[EventBody])
    def events(query: Annotated[EventSpan, FromQuery()]) -> Response:
        """What happened, who did it, and why; newest first, by default of the last 24 hours."""
        start, end = span(query.start, query.end)
        found = sources.events.recent(
            type=query.type,
            severity=query.severity,
            instrument=str(query.instrument) if query.instrument else None,
            start=start,
            end=end,
            limit=query.limit + 1,
            offset=query.offset,
        )
        return query.model_copy(update={"start": start, "end": end}).listing(found, EventBody)

    @router.get("/api/events/summary", response_model=EventSummaryBody)
    def summary(query: Annotated[SummarySpan, FromQuery()]) -> Response:
        """How many events there were, by type and by severity."""
        start, end = span(query.start, query.end)
        by_type: Counter[EventType] = Counter()
        by_severity: Counter[str] = Counter()
        for (kind, severity), count in sources.events.counts(start, end).items():
            by_type[kind] += count
            by_severity[severity] += count
        body = EventSummaryBody(
            start=start,
            end=end,
            total=by_type.total(),
            by_type=dict(sorted(by_type.items())),
            by_severity=dict(sorted(by_severity.items())),
        )
        return answer(body.model_dump_json())

    return router
