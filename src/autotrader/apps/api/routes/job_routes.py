"""Work that Airflow does for whoever asks.

What is asked for is written down and audited first; then Airflow is told, and told again until it has
heard. No request waits for Airflow.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Response
from fastapi import Query as FromQuery
from fastapi.exceptions import RequestValidationError

from autotrader.apps.api.answers import ErrorBody
from autotrader.apps.api.bodies import Listing
from autotrader.apps.api.job_bodies import BacktestAsked, JobBody, JobDetailBody, JobSpan
from autotrader.apps.api.routes.risk_routes import IdempotencyKey, Operator
from autotrader.apps.api.sources import Sources
from autotrader.apps.jobs.cancelling import cancelled
from autotrader.command import to_plain
from autotrader.domain.errors import Refused
from autotrader.ports.events import Event, EventType
from autotrader.ports.jobs import Job, Jobs, JobType
from autotrader.ports.tokens import Identity

_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": ErrorBody, "description": "There is no such job"}}


def job_routes(jobs: Jobs) -> APIRouter:
    """Reads."""
    router = APIRouter(tags=["jobs"])

    @router.get("/jobs", response_model=Listing[JobBody])
    def list_jobs(query: Annotated[JobSpan, FromQuery()]) -> Response:
        """What was asked for, newest first."""
        found = jobs.list(
            type=query.type,
            states=(query.state,) if query.state else (),
            start=query.start,
            end=query.end,
            limit=query.limit + 1,
            offset=query.offset,
        )
        return query.listing([JobBody.of(job) for job in found], JobBody)

    @router.get("/jobs/{job_id}")
    def job(job_id: str) -> JobDetailBody:
        """How a job stands, what it came to, and its tries."""
        return JobDetailBody.with_tries(jobs.get(job_id), list(jobs.tries(job_id)))

    return router


def asking_routes(sources: Sources, jobs: Jobs, tell: Callable[[], None]) -> APIRouter:
    """Writes.

    Parameters
    ----------
    tell : Callable
        Called when Airflow has something to be told.
    """
    router = APIRouter(tags=["jobs"])

    @router.post("/jobs/backtest", status_code=HTTPStatus.ACCEPTED)
    def ask_for_backtest(
        asked: BacktestAsked, identity: Operator, response: Response, idempotency_key: IdempotencyKey = None
    ) -> JobBody:
        """Ask for a backtest; `/jobs/{id}` says what became of it. Scope: operate."""
        try:
            params = asked.params(sources.settings)
        except ValueError as error:
            told = {"type": "value_error", "loc": ("body",), "msg": str(error), "input": to_plain(asked)}
            raise RequestValidationError([told]) from None
        job = Job(
            id=_id(identity, JobType.BACKTEST, idempotency_key),
            type=JobType.BACKTEST,
            params=params,
            asked_by=identity.name,
            asked_at=sources.clock.now(),
        )
        kept = jobs.ask(job, _audit(job))
        if kept.params != job.params:
            raise Refused(
                "expected an Idempotency-Key of this request, was one of another: make a new key for each"
            )
        tell()
        response.headers["Location"] = f"/jobs/{kept.id}"
        return JobBody.of(kept)

    @router.post("/jobs/{job_id}/cancel", responses=_UNKNOWN)
    def cancel(job_id: str, identity: Operator) -> JobBody:
        """Give up a job that is not over: no result is taken, its run is stopped. Scope: operate."""
        now = sources.clock.now()
        job = jobs.cancel(job_id, actor=identity.name, now=now, event=cancelled(job_id, identity.name, now))
        tell()
        return JobBody.of(job)

    return router


def _id(identity: Identity, kind: JobType, key: str | None) -> str:
    if key is None:
        return uuid.uuid4().hex
    return hashlib.sha256(f"{identity.name}|job|{kind.value}|{key}".encode()).hexdigest()[:32]


def _audit(job: Job) -> Event:
    return Event(
        key=f"job/{job.id}/asked",
        type=EventType.AUDIT,
        severity="info",
        message=f"{job.asked_by} asked for a {job.type.value}",
        actor=job.asked_by,
        at=job.asked_at,
        data={"job": job.id, "type": job.type.value, "params": job.params},
    )
