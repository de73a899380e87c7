"""Events, holds, the trial ledger and the model registry."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

# Types are written out: what this revision made must not change when `tables` does.
TEXT = sa.Text()
UTC = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def required(name: str, kind: Any, *constraints: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, *constraints, nullable=False)


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("id", SERIAL, primary_key=True),
        required("key", TEXT),
        required("type", TEXT),
        required("severity", TEXT),
        required("message", TEXT),
        required("actor", TEXT),
        required("at", UTC),
        sa.Column("instrument", TEXT),
        required("data", JSON),
        sa.UniqueConstraint("key"),
    )
    op.create_index(op.f("ix_events_at"), "events", ["at"])
    op.create_index(op.f("ix_events_type_at"), "events", ["type", "at"])
    op.create_table(
        "holds",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("instrument", TEXT),
        required("start", UTC),
        required("end", UTC),
        required("reason", TEXT),
        required("actor", TEXT),
        required("placed_at", UTC),
        sa.Column("released_at", UTC),
        sa.Column("released_by", TEXT),
    )
    op.create_table(
        "trials",
        sa.Column("id", SERIAL, primary_key=True),
        required("key", TEXT),
        required("strategy_id", TEXT),
        required("window_start", UTC),
        required("window_end", UTC),
        required("family", TEXT),
        required("params", JSON),
        required("state", TEXT),
        sa.Column("sharpe", sa.Double()),
        required("at", UTC),
        required("data", JSON),
        sa.UniqueConstraint("key"),
    )
    op.create_index(op.f("ix_trials_strategy_id_window_end"), "trials", ["strategy_id", "window_end"])
    op.create_table(
        "model_versions",
        sa.Column("id", SERIAL, primary_key=True),
        required("name", TEXT),
        required("training_key", TEXT),
        required("major", sa.Integer()),
        required("minor", sa.Integer()),
        required("patch", sa.Integer()),
        sa.Column("number", sa.Integer()),
        required("status", TEXT),
        required("reason", TEXT),
        required("run_id", TEXT),
        required("tags", JSON),
        required("digests", JSON),
        sa.Column("source", TEXT),
        required("actor", TEXT),
        required("created_at", UTC),
        sa.UniqueConstraint("name", "training_key"),
        sa.UniqueConstraint("name", "major", "minor", "patch"),
        sa.UniqueConstraint("name", "number"),
    )
    op.create_table(
        "model_aliases",
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("alias", TEXT, primary_key=True),
        sa.Column("version_id", SERIAL, sa.ForeignKey("model_versions.id")),
    )
    op.create_table(
        "model_changes",
        sa.Column("id", SERIAL, primary_key=True),
        required("name", TEXT),
        required("version_id", SERIAL, sa.ForeignKey("model_versions.id")),
        required("kind", TEXT),
        sa.Column("old", TEXT),
        sa.Column("new", TEXT),
        required("reason", TEXT),
        required("actor", TEXT),
        required("at", UTC),
        required("recorded", sa.Boolean()),
        required("projected", sa.Boolean()),
    )
    op.create_index(op.f("ix_model_changes_name_projected"), "model_changes", ["name", "projected"])
