"""Rollouts, their stages and pairs; routes, slots and heartbeats."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"

TEXT = sa.Text()
UTC = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def required(name: str, kind: Any, *constraints: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, *constraints, nullable=False)


def upgrade() -> None:
    op.create_table(
        "rollouts",
        sa.Column("id", TEXT, primary_key=True),
        required("strategy_id", TEXT),
        required("version", TEXT),
        sa.Column("previous_version", TEXT),
        required("candidate", TEXT),
        required("profile", TEXT),
        required("state", TEXT),
        required("stage", TEXT),
        sa.Column("stage_outcome", TEXT),
        required("goal", TEXT),
        required("revision", sa.Integer()),
        required("requested_by", TEXT),
        required("reason", TEXT),
        required("created_at", UTC),
        required("stage_since", UTC),
        sa.Column("stage_ended", UTC),
        sa.Column("ended_at", UTC),
        required("is_faulty", sa.Boolean()),
        required("number", sa.Integer()),
        sa.UniqueConstraint("strategy_id", "number"),
    )
    under_way = sa.text("state NOT IN ('rolled_back', 'completed')")
    op.create_index(
        op.f("uq_rollouts_under_way"),
        "rollouts",
        ["strategy_id"],
        unique=True,
        sqlite_where=under_way,
        postgresql_where=under_way,
    )
    op.create_table(
        "rollout_stages",
        sa.Column("id", SERIAL, primary_key=True),
        required("rollout_id", TEXT, sa.ForeignKey("rollouts.id")),
        required("stage", TEXT),
        required("outcome", TEXT),
        required("reason", TEXT),
        required("seconds", sa.Double()),
        required("evidence", JSON),
    )
    op.create_index(op.f("ix_rollout_stages_rollout_id_id"), "rollout_stages", ["rollout_id", "id"])
    op.create_table(
        "routes",
        sa.Column("strategy_id", TEXT, primary_key=True),
        sa.Column("instrument", TEXT, primary_key=True),
        required("color", TEXT),
        sa.Column("fallback", TEXT),
        required("epoch", sa.Integer()),
        sa.Column("green_until", UTC),
        required("changed_at", UTC),
        required("changed_by", TEXT),
        sa.Column("rollout_id", TEXT, sa.ForeignKey("rollouts.id")),
    )
    op.create_table(
        "slots",
        sa.Column("strategy_id", TEXT, primary_key=True),
        sa.Column("color", TEXT, primary_key=True),
        required("state", TEXT),
        sa.Column("version", TEXT),
        sa.Column("onnx_sha256", TEXT),
        sa.Column("endpoint", TEXT),
        required("reason", TEXT),
        required("changed_at", UTC),
        required("changed_by", TEXT),
        sa.Column("warm_until", UTC),
    )
    op.create_table(
        "pairs",
        sa.Column("id", SERIAL, primary_key=True),
        required("rollout_id", TEXT, sa.ForeignKey("rollouts.id")),
        required("request_id", TEXT),
        required("instrument", TEXT),
        required("ts", UTC),
        required("replayed", sa.Boolean()),
        sa.Column("stable_status", sa.Integer()),
        required("candidate_status", sa.Integer()),
        sa.Column("stable_seconds", sa.Double()),
        required("candidate_seconds", sa.Double()),
        sa.Column("stable_score", sa.Double()),
        sa.Column("candidate_score", sa.Double()),
        sa.Column("parity_difference", sa.Double()),
        sa.UniqueConstraint("rollout_id", "request_id"),
    )
    op.create_index(op.f("ix_pairs_rollout_id_id"), "pairs", ["rollout_id", "id"])
    op.create_table(
        "heartbeats",
        sa.Column("strategy_id", TEXT, primary_key=True),
        sa.Column("component", TEXT, primary_key=True),
        required("at", UTC),
        required("data", JSON),
    )
