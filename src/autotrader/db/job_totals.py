"""What the tables of jobs amount to, for metrics; what is forgotten stays counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from autotrader.db.inserts import add_to
from autotrader.db.job_tables import JOB_COUNTS, JOB_DEAD_LETTERS, JOB_TRIES, JOBS
from autotrader.ports.jobs import DURATION_BOUNDS, Durations, JobState, JobTotals, JobType

_TRIES = JOB_TRIES.join(JOBS, JOBS.c.id == JOB_TRIES.c.job_id)
_LETTERS = JOB_DEAD_LETTERS.join(JOBS, JOBS.c.id == JOB_DEAD_LETTERS.c.job_id)
# Names of what is counted, as they are kept.
_ASKED, _RETRIES, _SUCCEEDED, _FAILED_TRIES, _GIVEN_UP, _TIMED, _SECONDS = (
    "asked",
    "retries",
    "succeeded",
    "failed_tries",
    "given_up",
    "timed",
    "seconds",
)


def read(connection: Connection) -> JobTotals:
    """All counts, of one state of the database."""
    counts = _counts(connection)
    for kind, name, value in connection.execute(sa.select(JOB_COUNTS)):
        counts[kind][name] += value

    def of(name: str) -> dict[JobType, int]:
        return {type_: int(counts[type_][name]) for type_ in JobType}

    oldest = (
        sa.select(JOBS.c.type, sa.func.min(JOB_TRIES.c.started_at))
        .select_from(_TRIES)
        .where(JOB_TRIES.c.state == JobState.RUNNING)
        .group_by(JOBS.c.type)
    )
    dead = _count(connection, _LETTERS, JOB_DEAD_LETTERS.c.requeued_at.is_(None))
    waiting = _count(connection, JOBS, JOBS.c.state.in_([JobState.ASKED, JobState.QUEUED]))
    return JobTotals(
        asked=of(_ASKED),
        retries=of(_RETRIES),
        # A job that is requeued and ends again has ended twice.
        ended={(t, JobState.SUCCEEDED): n for t, n in of(_SUCCEEDED).items()}
        | {(t, JobState.FAILED): n for t, n in of(_GIVEN_UP).items()},
        failed_tries=of(_FAILED_TRIES),
        given_up=of(_GIVEN_UP),
        dead={type_: dead.get(type_, 0) for type_ in JobType},
        waiting={type_: waiting.get(type_, 0) for type_ in JobType},
        durations={type_: _durations(counts[type_]) for type_ in JobType},
        oldest_start={row[0]: row[1] for row in connection.execute(oldest)},
    )


def keep(connection: Connection, ids: Sequence[str]) -> None:
    """Write down what these jobs amount to, before they are deleted in the same transaction."""
    for type_, counts in _counts(connection, JOBS.c.id.in_(ids)).items():
        for name, value in counts.items():
            add_to(connection, JOB_COUNTS, {"type": type_, "name": name, "value": value}, "value")


def _counts(connection: Connection, *where: Any) -> dict[JobType, dict[str, float]]:
    """Of the jobs that are there."""
    tries = JOB_TRIES.c
    found: dict[JobType, dict[str, float]] = {type_: defaultdict(float) for type_ in JobType}
    for name, source, condition in (
        (_ASKED, JOBS, sa.true()),
        (_RETRIES, _TRIES, tries.is_retry),
        (_SUCCEEDED, _TRIES, tries.state == JobState.SUCCEEDED),
        (_FAILED_TRIES, _TRIES, tries.state == JobState.FAILED),
        (_GIVEN_UP, _LETTERS, sa.true()),
    ):
        for type_, number in _count(connection, source, condition, *where).items():
            found[type_][name] = number
    within = [sa.func.sum(sa.case((tries.seconds <= bound, 1), else_=0)) for bound in DURATION_BOUNDS]
    timed = (
        sa.select(JOBS.c.type, sa.func.count(), sa.func.sum(tries.seconds), *within)
        .select_from(_TRIES)
        .where(tries.seconds.is_not(None), *where)
        .group_by(JOBS.c.type)
    )
    names = [_TIMED, _SECONDS, *map(_within, DURATION_BOUNDS)]
    for type_, *values in connection.execute(timed):
        found[type_].update(zip(names, map(float, values), strict=True))
    return found


def _count(connection: Connection, source: sa.FromClause, *where: Any) -> dict[JobType, int]:
    query = sa.select(JOBS.c.type, sa.func.count()).select_from(source).where(*where)
    return {row[0]: row[1] for row in connection.execute(query.group_by(JOBS.c.type))}


def _durations(counts: Mapping[str, float]) -> Durations:
    within = {bound: int(counts[_within(bound)]) for bound in DURATION_BOUNDS}
    return Durations(within, int(counts[_TIMED]), counts[_SECONDS])


def _within(bound: float) -> str:
    return f"within_{bound:g}"
