"""Jobs in the database. Who changes a try has the row of its job first: who comes second finds it changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from autotrader.db import job_totals
from autotrader.db.engine import reading
from autotrader.db.events import record_event
from autotrader.db.inserts import insert_new
from autotrader.db.job_tables import JOB_DEAD_LETTERS, JOB_TRIES, JOBS
from autotrader.db.rows import row_of, select_fields
from autotrader.domain.errors import NotFound, Refused
from autotrader.log import mask_text
from autotrader.ports.events import Event
from autotrader.ports.jobs import (
    UNFINISHED,
    DeadLetter,
    Job,
    JobState,
    JobTotals,
    JobType,
    Try,
    run_id_of,
)

_MOST_REASON = 1_000
_MOST_FORGOTTEN = 500  # at once: nobody waits for years of them
_JOB, _TRY = select_fields(JOBS, Job), select_fields(JOB_TRIES, Try)


class SqlJobs:
    """Jobs, tries and dead letters.

    Parameters
    ----------
    engine : Engine
        Of a migrated database.
    tries : int
        Of a round, before the job is given up.
    retry_seconds : float
        Before the second try; twice as long before each further one.
    """

    def __init__(self, engine: Engine, *, tries: int, retry_seconds: float) -> None:
        self._engine = engine
        self._most_tries = tries
        self._retry_seconds = retry_seconds

    def ask(self, job: Job, event: Event) -> Job:
        with self._engine.begin() as connection:
            if insert_new(connection, JOBS, row_of(job)):
                _add_try(connection, job, at=job.asked_at)
                record_event(connection, event)
            return _get(connection, job.id)

    def get(self, job_id: str) -> Job:
        with reading(self._engine) as connection:
            return _get(connection, job_id)

    def list(
        self,
        *,
        type: JobType | None = None,
        states: Sequence[JobState] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> Sequence[Job]:
        query = _JOB.order_by(JOBS.c.asked_at.desc(), JOBS.c.id).limit(limit).offset(offset)
        if type is not None:
            query = query.where(JOBS.c.type == type)
        if states:
            query = query.where(JOBS.c.state.in_(states))
        if start is not None:
            query = query.where(JOBS.c.asked_at >= start)
        if end is not None:
            query = query.where(JOBS.c.asked_at < end)
        with reading(self._engine) as connection:
            return [Job(*row) for row in connection.execute(query)]

    def tries(self, job_id: str) -> Sequence[Try]:
        query = _TRY.where(JOB_TRIES.c.job_id == job_id).order_by(JOB_TRIES.c.number)
        with reading(self._engine) as connection:
            return [Try(*row) for row in connection.execute(query)]

    def unfinished(self, *, states: Sequence[JobState], limit: int = 100) -> Sequence[tuple[Job, Try]]:
        return self._with_newest(JOBS.c.state.in_(states), limit=limit)

    def to_stop(self, *, limit: int = 100) -> Sequence[tuple[Job, Try]]:
        goes_on = JOB_TRIES.c.state.in_(UNFINISHED)
        return self._with_newest(JOBS.c.state == JobState.CANCELLED, goes_on, limit=limit)

    def _with_newest(self, *where: sa.ColumnElement[bool], limit: int) -> Sequence[tuple[Job, Try]]:
        newest = sa.and_(JOB_TRIES.c.job_id == JOBS.c.id, JOB_TRIES.c.number == JOBS.c.tries)
        query = (
            sa.select(*_JOB.selected_columns, *_TRY.selected_columns)
            .select_from(JOBS.join(JOB_TRIES, newest))
            .where(*where)
            .order_by(JOBS.c.asked_at, JOBS.c.id)
            .limit(limit)
        )
        cut = len(_JOB.selected_columns)
        with reading(self._engine) as connection:
            return [(Job(*row[:cut]), Try(*row[cut:])) for row in connection.execute(query)]

    def queued(self, run_id: str) -> None:
        with self._engine.begin() as connection:
            found = _unfinished(connection, run_id)
            if found and found[1].state is JobState.ASKED:
                _set_try(connection, run_id, state=JobState.QUEUED)
                _set_job(connection, found[0].id, state=JobState.QUEUED)

    def begin(self, run_id: str, now: datetime) -> Job | None:
        with self._engine.begin() as connection:
            found = _locked(connection, run_id)
            if found is None:
                return None
            job, begun = found
            if job.state is JobState.CANCELLED:
                raise Refused(f"expected a job that is wanted, was {job.id}: {job.reason}")
            if begun.state not in UNFINISHED:
                raise Refused(
                    f"expected a try that is not over, was {run_id}, which {begun.state}: `autotrader jobs "
                    "requeue` begins a new one"
                )
            _set_try(connection, run_id, state=JobState.RUNNING, started_at=now)
            _set_job(connection, job.id, state=JobState.RUNNING)
            return _get(connection, job.id)

    def succeed(self, run_id: str, result: Mapping[str, Any], now: datetime) -> bool:
        with self._engine.begin() as connection:
            found = _unfinished(connection, run_id)
            if found is None:
                return False
            job, ended = found
            _end(connection, ended, JobState.SUCCEEDED, "", now)
            over = {"state": JobState.SUCCEEDED, "result": dict(result), "ended_at": now, "reason": ""}
            _set_job(connection, job.id, **over)
        return True

    def fail(self, run_id: str, reason: str, now: datetime, *, can_retry: bool) -> bool:
        told = mask_text(reason).replace("\x00", "\N{REPLACEMENT CHARACTER}")[:_MOST_REASON]
        with self._engine.begin() as connection:
            found = _unfinished(connection, run_id)
            if found is None:
                return False
            job, ended = found
            _end(connection, ended, JobState.FAILED, told, now)
            tried = ended.number - job.round_start + 1
            if can_retry and tried < self._most_tries:
                pause = timedelta(seconds=self._retry_seconds * 2.0 ** (tried - 1))
                again = replace(job, tries=ended.number + 1)
                _add_try(connection, again, at=now, run_after=now + pause, is_retry=True)
                _set_job(connection, job.id, state=JobState.ASKED, tries=again.tries, reason=told)
            else:
                letter = {"job_id": job.id, "number": ended.number, "at": now, "reason": told}
                connection.execute(sa.insert(JOB_DEAD_LETTERS).values(letter))
                _set_job(connection, job.id, state=JobState.FAILED, ended_at=now, reason=told)
        return True

    def cancel(self, job_id: str, *, actor: str, now: datetime, event: Event) -> Job:
        with self._engine.begin() as connection:
            job = _get(connection, job_id, lock=True)
            if job.state is JobState.CANCELLED:
                return job
            if job.state not in UNFINISHED:
                raise Refused(f"expected a job that is not over, was {job_id}, which {job.state}")
            # Its try is left open: that is what says that Airflow has yet to be told.
            reason = f"cancelled by {actor}"
            _set_job(connection, job_id, state=JobState.CANCELLED, ended_at=now, reason=reason)
            record_event(connection, event)
            return _get(connection, job_id)

    def stopped(self, run_id: str, now: datetime) -> None:
        with self._engine.begin() as connection:
            found = _locked(connection, run_id)
            if found and found[0].state is JobState.CANCELLED and found[1].state in UNFINISHED:
                _set_try(connection, run_id, state=JobState.CANCELLED, ended_at=now, reason=found[0].reason)

    def dead_letters(self, *, limit: int = 100) -> Sequence[DeadLetter]:
        letters = JOB_DEAD_LETTERS.c
        query = (
            sa.select(
                letters.job_id,
                JOBS.c.type,
                letters.number,
                letters.at,
                letters.reason,
                letters.requeued_at,
                letters.requeued_by,
            )
            .select_from(JOB_DEAD_LETTERS.join(JOBS, JOBS.c.id == letters.job_id))
            .where(letters.requeued_at.is_(None))
            .order_by(letters.at.desc(), letters.id.desc())
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return [DeadLetter(*row) for row in connection.execute(query)]

    def requeue(self, job_id: str, *, actor: str, now: datetime, event: Event) -> Job:
        dead = sa.and_(JOBS.c.id == job_id, JOBS.c.state == JobState.FAILED)
        asked = {"state": JobState.ASKED, "ended_at": None, "tries": JOBS.c.tries + 1}
        with self._engine.begin() as connection:
            changed = connection.execute(
                sa.update(JOBS).where(dead).values(**asked, round_start=JOBS.c.tries + 1)
            )
            job = _get(connection, job_id)
            if not changed.rowcount:
                raise Refused(
                    f"expected a job that was given up, was {job_id}, which is {job.state}: "
                    "`autotrader jobs dlq` shows them"
                )
            letters = JOB_DEAD_LETTERS.c
            connection.execute(
                sa.update(JOB_DEAD_LETTERS)
                .where(letters.job_id == job_id, letters.requeued_at.is_(None))
                .values(requeued_at=now, requeued_by=actor)
            )
            _add_try(connection, job, at=now)
            record_event(connection, event)
            return job

    def totals(self) -> JobTotals:
        with reading(self._engine) as connection:
            return job_totals.read(connection)

    def forget(self, before: datetime) -> int:
        goes_on = sa.exists().where(JOB_TRIES.c.job_id == JOBS.c.id, JOB_TRIES.c.state.in_(UNFINISHED))
        ended = sa.and_(JOBS.c.ended_at < before, JOBS.c.state.not_in(UNFINISHED), ~goes_on)
        old = sa.select(JOBS.c.id).where(ended).limit(_MOST_FORGOTTEN).with_for_update()
        forgotten = 0
        while True:
            with self._engine.begin() as connection:
                ids = connection.scalars(old).all()
                if not ids:
                    return forgotten
                job_totals.keep(connection, ids)
                connection.execute(sa.delete(JOB_DEAD_LETTERS).where(JOB_DEAD_LETTERS.c.job_id.in_(ids)))
                connection.execute(sa.delete(JOB_TRIES).where(JOB_TRIES.c.job_id.in_(ids)))
                forgotten += connection.execute(sa.delete(JOBS).where(JOBS.c.id.in_(ids))).rowcount


def _get(connection: Connection, job_id: str, *, lock: bool = False) -> Job:
    query = _JOB.where(JOBS.c.id == job_id)
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise NotFound(f"expected the id of a job, was {job_id[:64]!r}: `autotrader jobs list` shows them")
    return Job(*row)


def _locked(connection: Connection, run_id: str) -> tuple[Job, Try] | None:
    """A try and its job, which nobody else changes before this transaction ends; None if there is none."""
    query = _TRY.where(JOB_TRIES.c.run_id == run_id)
    row = connection.execute(query).first()
    if row is None:
        return None
    job = _get(connection, Try(*row).job_id, lock=True)
    # Read again: it may have been changed while we waited for the job.
    return job, Try(*connection.execute(query).one())


def _unfinished(connection: Connection, run_id: str) -> tuple[Job, Try] | None:
    """As `_locked`; None also if the try is over, or nobody wants it any more."""
    found = _locked(connection, run_id)
    if found is None or found[0].state is JobState.CANCELLED or found[1].state not in UNFINISHED:
        return None
    return found


def _add_try(
    connection: Connection,
    job: Job,
    *,
    at: datetime,
    run_after: datetime | None = None,
    is_retry: bool = False,
) -> None:
    """The job's newest try."""
    made = Try(
        run_id=run_id_of(job.id, job.tries),
        job_id=job.id,
        number=job.tries,
        is_retry=is_retry,
        state=JobState.ASKED,
        asked_at=at,
        run_after=run_after,
    )
    connection.execute(sa.insert(JOB_TRIES).values(row_of(made)))


def _end(connection: Connection, ended: Try, state: JobState, reason: str, now: datetime) -> None:
    begun = ended.started_at
    seconds = None if begun is None else max((now - begun).total_seconds(), 0.0)
    _set_try(connection, ended.run_id, state=state, ended_at=now, reason=reason, seconds=seconds)


def _set_try(connection: Connection, run_id: str, **values: object) -> None:
    connection.execute(sa.update(JOB_TRIES).where(JOB_TRIES.c.run_id == run_id).values(values))


def _set_job(connection: Connection, job_id: str, **values: object) -> None:
    connection.execute(sa.update(JOBS).where(JOBS.c.id == job_id).values(values))
