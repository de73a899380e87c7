"""Alerts: what is open, and what an Alertmanager tells us."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi import Query as FromQuery
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from autotrader.alerts.messages import runbook_url
from autotrader.apps.api.access import requires
from autotrader.apps.api.alert_bodies import (
    AlertEventBody,
    Received,
    Webhook,
    events_of,
    fingerprints_of,
    shown,
)
from autotrader.apps.api.bodies import Listing
from autotrader.apps.api.queries import StatedAlertSpan
from autotrader.apps.api.sources import Sources
from autotrader.domain.thresholds import API
from autotrader.ports.alerts import Alerts
from autotrader.ports.tokens import Identity, Scope

_DEFAULT = timedelta(hours=API.listed_hours)
# A moment may pass between an event's time and its row: without an end, all that there is.
_TICK = timedelta(microseconds=1)

Operator = Annotated[Identity, Depends(requires(Scope.OPERATE))]
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": Webhook.model_json_schema()}},
    }
}


def alert_routes(sources: Sources, alerts: Alerts) -> APIRouter:
    """Reads."""
    router = APIRouter(tags=["alerts"])
    base = sources.settings.monitoring.runbook_url

    @router.get("/api/alerts", response_model=Listing[AlertEventBody])
    def list_alerts(query: Annotated[StatedAlertSpan, FromQuery()]) -> Response:
        """Events of the type ALERT and what became of them; newest first, by default of the last 24 hours."""
        end = query.end or sources.clock.now() + _TICK
        start = query.start or end - _DEFAULT
        found = alerts.history(
            start=start,
            end=end,
            severity=query.severity,
            instrument=str(query.instrument) if query.instrument else None,
            state=query.state,
            limit=query.limit + 1,
            offset=query.offset,
        )
        events = [shown(one, lambda path: runbook_url(path, base)) for one in found]
        return query.model_copy(update={"start": start, "end": end}).listing(events, AlertEventBody)

    return router


def webhook_routes(sources: Sources, alerts: Alerts) -> APIRouter:
    """Writes."""
    router = APIRouter(tags=["alerts"])

    @router.post("/alerts/webhook", openapi_extra=_BODY)
    async def receive(request: Request, identity: Operator) -> Received:
        """Take on what an Alertmanager tells, firing and resolved; the same told again changes nothing,
        unless somebody ended by hand what still fires: then it is raised once more.

        Nobody is told by us: it has told people already. Scope: operate.
        """
        # Read here, not before: what a stranger sends is not looked at.
        content = await request.body()
        try:
            webhook = Webhook.model_validate_json(content)
        except ValidationError as error:
            raise RequestValidationError(
                [{**found, "loc": ("body", *found["loc"])} for found in error.errors(include_url=False)]
            ) from None
        runbooks = sources.settings.monitoring.runbook_url

        def take_on() -> Received:
            ended = alerts.ended_by_hand(fingerprints_of(webhook))
            now = sources.clock.now()
            events = events_of(webhook, actor=identity.name, now=now, runbooks=runbooks, ended_by_hand=ended)
            new = sum(sources.events.record(event) for event in events)
            return Received(received=len(webhook.alerts), new=new, ours=len(webhook.alerts) - len(events))

        return await run_in_threadpool(take_on)

    return router
