"""Jobs: what was asked for, each try in Airflow, what was given up."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"

TEXT = sa.Text()
KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
UTC = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def required(name: str, kind: Any, *constraints: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, *constraints, nullable=False)


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", KEY, primary_key=True),
        required("type", TEXT),
        required("params", JSON),
        required("asked_by", TEXT),
        required("asked_at", UTC),
        required("state", TEXT),
        required("tries", sa.Integer()),
        required("round_start", sa.Integer()),
        required("reason", TEXT),
        sa.Column("result", JSON),
        sa.Column("ended_at", UTC),
    )
    op.create_index(op.f("ix_jobs_asked_at"), "jobs", ["asked_at"])
    index_some("ix_jobs_unfinished", "jobs", ["asked_at"], sa.text("state NOT IN ('succeeded', 'failed')"))
    op.create_table(
        "job_tries",
        sa.Column("run_id", KEY, primary_key=True),
        required("job_id", KEY, sa.ForeignKey("jobs.id")),
        required("number", sa.Integer()),
        required("is_retry", sa.Boolean()),
        required("state", TEXT),
        required("asked_at", UTC),
        sa.Column("run_after", UTC),
        sa.Column("started_at", UTC),
        sa.Column("ended_at", UTC),
        sa.Column("seconds", sa.Double()),
        required("reason", TEXT),
        sa.UniqueConstraint("job_id", "number"),
    )
    op.create_table(
        "job_dead_letters",
        sa.Column("id", SERIAL, primary_key=True),
        required("job_id", KEY, sa.ForeignKey("jobs.id")),
        required("number", sa.Integer()),
        required("at", UTC),
        required("reason", TEXT),
        sa.Column("requeued_at", UTC),
        sa.Column("requeued_by", TEXT),
        sa.UniqueConstraint("job_id", "number"),
    )
    index_some("ix_job_dead_letters_dead", "job_dead_letters", ["at"], sa.text("requeued_at IS NULL"))


def index_some(name: str, table: str, columns: list[str], where: sa.TextClause) -> None:
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
