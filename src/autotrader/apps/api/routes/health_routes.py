"""How the platform is; answered from what the background checks found last."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Literal

import psutil
import sqlalchemy as sa
from fastapi import APIRouter, Response

from autotrader.apps.api.board import Result
from autotrader.apps.api.bodies import (
    ActivityBody,
    CheckBody,
    ComponentBody,
    DetailedHealthBody,
    HealthBody,
    ProcessBody,
)
from autotrader.apps.api.metrics import CONTENT_TYPE
from autotrader.apps.api.shapes import answer
from autotrader.apps.api.sources import Sources
from autotrader.apps.api.status import ComponentStatus
from autotrader.db.engine import reading
from autotrader.db.questions import Question
from autotrader.db.trading_tables import SIGNALS, TRADES

Component = Literal["database", "trader", "broker", "feed", "scheduler", "registry", "disk"]

_DAY = timedelta(days=1)


def _after(time: sa.Column[Any]) -> sa.ScalarSelect[int]:
    of_account = time.table.c.account == sa.bindparam("account", type_=time.table.c.account.type)
    since = time > sa.bindparam("start", type_=time.type)
    return sa.select(sa.func.count()).select_from(time.table).where(of_account, since).scalar_subquery()


_DONE = Question(
    sa.select(_after(TRADES.c.closed_at), _after(SIGNALS.c.ts)),
    lambda trades, signals: {"trades": trades, "signals": signals},
)


def health_routes(sources: Sources) -> APIRouter:
    router = APIRouter(tags=["health"])
    began = sources.clock.monotonic()
    process = psutil.Process()
    process.cpu_percent()  # the first answer is always zero: later ones are since the one before
    running = version("autotrader")

    def base(status: ComponentStatus, results: Mapping[str, Result]) -> dict[str, Any]:
        return {
            "status": status,
            "timestamp": sources.clock.now(),
            "version": running,
            "uptime": round(sources.clock.monotonic() - began, 3),
            "checks": {
                name: CheckBody(
                    status=result.finding.status,
                    reason=result.finding.reason,
                    latency_ms=result.latency_ms,
                    checked_at=result.checked_at,
                    figures=dict(result.finding.figures),
                )
                for name, result in results.items()
            },
        }

    @router.get("/health", responses={503: {"model": HealthBody, "description": "An essential part is ill"}})
    async def health(response: Response) -> HealthBody:
        """200, or 503 when unhealthy: database, trader, broker, feed or disk are."""
        body = HealthBody(**base(sources.board.overall(), sources.board.results()))
        if body.status is ComponentStatus.UNHEALTHY:
            response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        return body

    @router.get("/api/health")
    async def all_health() -> HealthBody:
        """The same, always 200: the body tells."""
        return HealthBody(**base(sources.board.overall(), sources.board.results()))

    @router.get("/api/health/detailed", response_model=DetailedHealthBody)
    def detailed() -> Response:
        """With figures of this process, and counts of what the trader did in its last 24 hours."""
        body = DetailedHealthBody(
            **base(sources.board.overall(), sources.board.results()),
            process=_process(process),
            activity=_activity(sources),
        )
        return answer(body.model_dump_json())

    @router.get("/api/health/{component}")
    async def one(component: Component) -> ComponentBody:
        """One component."""
        result = sources.board.results()[component]
        return ComponentBody(**base(result.finding.status, {component: result}))

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def metrics() -> Response:
        """For Prometheus."""
        return Response(sources.metrics.page(), media_type=CONTENT_TYPE)

    return router


def _process(process: psutil.Process) -> ProcessBody:
    with process.oneshot():
        return ProcessBody(
            pid=process.pid,
            cpu_percent=process.cpu_percent(),
            memory_bytes=process.memory_info().rss,
            threads=process.num_threads(),
            open_files=process.num_fds(),
        )


def _activity(sources: Sources) -> ActivityBody:
    state = sources.records.state(sources.account)
    if state is None or state.cursor is None:
        return ActivityBody(account=sources.account, start=None, trades=0, signals=0)
    start = state.cursor - _DAY
    with reading(sources.engine) as connection:
        found = _DONE.first(connection, account=sources.account, start=start)
    return ActivityBody(account=sources.account, start=start, **(found or {}))
