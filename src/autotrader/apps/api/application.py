"""The application: routes, their access, and what runs beside them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.routing import APIRoute
from sqlalchemy.engine import Engine
from starlette.responses import HTMLResponse

from autotrader.adapters.airflow_client import airflow_of
from autotrader.alerts.set_up import routing_of
from autotrader.apps.api import answers
from autotrader.apps.api.access import Door, requires
from autotrader.apps.api.answers import ErrorBody
from autotrader.apps.api.board import HealthBoard
from autotrader.apps.api.checks import checks_of
from autotrader.apps.api.documentation import CONTENT_SECURITY_POLICY, page_of
from autotrader.apps.api.job_keeper import JobKeeper
from autotrader.apps.api.metrics import ApiMetrics
from autotrader.apps.api.observation import Observation
from autotrader.apps.api.routes.alert_routes import alert_routes, webhook_routes
from autotrader.apps.api.routes.deployment_routes import deployment_routes
from autotrader.apps.api.routes.event_routes import event_routes
from autotrader.apps.api.routes.health_routes import health_routes
from autotrader.apps.api.routes.job_routes import asking_routes, job_routes
from autotrader.apps.api.routes.pnl_routes import pnl_routes
from autotrader.apps.api.routes.risk_routes import control_routes, risk_routes
from autotrader.apps.api.routes.stream_routes import stream_routes
from autotrader.apps.api.routes.trading_routes import trading_routes
from autotrader.apps.api.sources import Sources
from autotrader.apps.api.stream import Poller, Stream
from autotrader.apps.api.watch import Watch
from autotrader.apps.jobs.follow import AIRFLOW_SECONDS, follow
from autotrader.config.settings import Settings
from autotrader.db.alerts import SqlAlerts
from autotrader.db.jobs import SqlJobs
from autotrader.db.timing import observe_statements
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.deployment import DeploymentRecords
from autotrader.ports.events import EventLog
from autotrader.ports.tokens import Scope, Tokens
from autotrader.ports.trading import TradingRecords

Responses = dict[int | str, dict[str, Any]]

# As many as the engine has connections for (5, and 10 more at a rush), and some for the poller and checks.
THREADS = 10

_ERRORS: Responses = {
    status: {"model": ErrorBody, "description": meaning}
    for status, meaning in {
        401: "No token, or none that is in force",
        403: "Not with the scopes of this token",
        422: "A parameter is not as it must be",
        500: "A fault of ours; the log tells it by its request id",
        503: "Something that we need does not answer; try again",
    }.items()
}
_UNKNOWN: Responses = {404: {"model": ErrorBody, "description": "There is no such thing"}}
_REFUSED: Responses = {
    409: {"model": ErrorBody, "description": "A safety rule forbids it"},
    413: {"model": ErrorBody, "description": "The body is too large"},
}

_DESCRIPTION = """What the platform knows, and what a person may ask of the trader.

Reads are open to this machine alone; all else wants `Authorization: Bearer TOKEN`, of a token with the \
scope read, operate or approve (`autotrader token create`). Amounts, prices and quantities are decimal \
numbers as strings, exactly as they are kept. Times are UTC. `WS /api/stream` tells positions, fills and \
alerts as they happen."""


def create_application(
    *,
    settings: Settings,
    engine: Engine,
    events: EventLog,
    records: TradingRecords,
    deployment: DeploymentRecords,
    tokens: Tokens,
    clock: WallClock,
    market_clock: MarketClock,
) -> FastAPI:
    """The API over these ports; its background tasks run while its lifespan does."""
    metrics = ApiMetrics()
    observe_statements(engine, metrics.observe_statement)
    sources = Sources(
        settings=settings,
        engine=engine,
        events=events,
        records=records,
        deployment=deployment,
        clock=clock,
        door=Door(tokens, clock),
        board=HealthBoard(
            checks_of(settings, engine, records, clock, market_clock), clock, metrics.tell_health
        ),
        metrics=metrics,
        stream=Stream(metrics),
    )
    return application_of(sources)


def application_of(sources: Sources) -> FastAPI:
    """The application over sources that are made."""
    watch = Watch(sources.records, sources.events, sources.clock)
    asked = sources.settings.jobs
    airflow = functools.partial(airflow_of, sources.settings, timeout_seconds=AIRFLOW_SECONDS)
    jobs = SqlJobs(sources.engine, tries=asked.tries, retry_seconds=asked.retry_seconds)
    keeper = JobKeeper(lambda: follow(jobs, airflow, sources.clock))
    poller = Poller(watch.look, sources.stream, sources.metrics)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        kept = (sources.board.keep, poller.keep, keeper.keep)
        tasks = [asyncio.create_task(keep()) for keep in kept]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    application = FastAPI(
        title="autotrader",
        version=version("autotrader"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        generate_unique_id_function=_operation_id,
        redirect_slashes=False,
    )
    application.state.door, application.state.board = sources.door, sources.board
    answers.install(application)
    readers = [Depends(requires(Scope.READ))]
    runbooks = sources.settings.monitoring.runbook_url
    alerts = SqlAlerts(sources.engine, routing_of(sources.settings), runbooks=runbooks)
    for router in (
        health_routes(sources),
        event_routes(sources),
        alert_routes(sources, alerts),
        deployment_routes(sources),
    ):
        application.include_router(router, dependencies=readers, responses=_ERRORS)
    for router in (
        trading_routes(sources),
        pnl_routes(sources),
        risk_routes(sources),
        job_routes(jobs),
    ):
        application.include_router(router, dependencies=readers, responses=_ERRORS | _UNKNOWN)
    application.include_router(control_routes(sources), responses=_ERRORS | _UNKNOWN | _REFUSED)
    application.include_router(asking_routes(sources, jobs, keeper.tell), responses=_ERRORS | _REFUSED)
    application.include_router(webhook_routes(sources, alerts), responses=_ERRORS | _REFUSED)
    application.include_router(stream_routes(sources))
    application.include_router(_documentation(), dependencies=readers, include_in_schema=False)
    application.add_middleware(Observation, metrics=sources.metrics)
    return application


def _documentation() -> APIRouter:
    router = APIRouter()

    @router.get("/openapi.json")
    async def openapi(request: Request) -> dict[str, object]:
        document: dict[str, object] = request.app.openapi()
        return document

    @router.get("/docs", response_class=HTMLResponse)
    async def docs(request: Request) -> HTMLResponse:
        headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
        return HTMLResponse(page_of(request.app.openapi()), headers=headers)

    return router


def _operation_id(route: APIRoute) -> str:
    return route.name
