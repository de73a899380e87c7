"""The tables of jobs: what was asked for, each try in Airflow, what was given up, what was forgotten."""

from __future__ import annotations

import sqlalchemy as sa

from autotrader.db.columns import METADATA, Json, Key, OptionalJson, Serial, Utc, Word, required
from autotrader.ports.jobs import JobState, JobType

_UNFINISHED = sa.text("state NOT IN ('succeeded', 'failed')")
_DEAD = sa.text("requeued_at IS NULL")

JOBS = sa.Table(
    "jobs",
    METADATA,
    sa.Column("id", Key, primary_key=True),
    required("type", Word(JobType)),
    required("params", Json),
    required("asked_by", sa.Text),
    required("asked_at", Utc),
    required("state", Word(JobState)),
    required("tries", sa.Integer),
    required("round_start", sa.Integer),
    required("reason", sa.Text),
    sa.Column("result", OptionalJson),
    sa.Column("ended_at", Utc),
    sa.Index(None, "asked_at"),
    sa.Index("ix_jobs_unfinished", "asked_at", sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED),
)

JOB_TRIES = sa.Table(
    "job_tries",
    METADATA,
    sa.Column("run_id", Key, primary_key=True),
    required("job_id", Key, sa.ForeignKey("jobs.id")),
    required("number", sa.Integer),
    required("is_retry", sa.Boolean),
    required("state", Word(JobState)),
    required("asked_at", Utc),
    sa.Column("run_after", Utc),
    sa.Column("started_at", Utc),
    sa.Column("ended_at", Utc),
    sa.Column("seconds", sa.Double),
    required("reason", sa.Text),
    sa.UniqueConstraint("job_id", "number"),
)

JOB_DEAD_LETTERS = sa.Table(
    "job_dead_letters",
    METADATA,
    sa.Column("id", Serial, primary_key=True),
    required("job_id", Key, sa.ForeignKey("jobs.id")),
    required("number", sa.Integer),
    required("at", Utc),
    required("reason", sa.Text),
    sa.Column("requeued_at", Utc),
    sa.Column("requeued_by", sa.Text),
    sa.UniqueConstraint("job_id", "number"),
    sa.Index("ix_job_dead_letters_dead", "at", sqlite_where=_DEAD, postgresql_where=_DEAD),
)

# What jobs that are forgotten amounted to: a counter must not fall.
JOB_COUNTS = sa.Table(
    "job_counts",
    METADATA,
    sa.Column("type", Word(JobType), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    required("value", sa.Double),
)
