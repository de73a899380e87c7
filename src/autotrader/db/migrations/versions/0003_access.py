"""Tokens and sign-offs."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"

TEXT = sa.Text()
UTC = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def required(name: str, kind: Any, *constraints: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, *constraints, nullable=False)


def upgrade() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", TEXT, primary_key=True),
        required("identity", TEXT),
        required("scopes", JSON),
        required("roles", JSON),
        required("sha256", TEXT),
        required("created_by", TEXT),
        required("created_at", UTC),
        required("expires_at", UTC),
        sa.Column("revoked_at", UTC),
    )
    op.create_table(
        "approval_requests",
        sa.Column("id", TEXT, primary_key=True),
        required("model", TEXT),
        required("version", TEXT),
        required("onnx_sha256", TEXT),
        required("gate_report_sha256", TEXT),
        required("round", sa.Integer()),
        required("requested_at", UTC),
        required("expires_at", UTC),
    )
    op.create_index(op.f("ix_approval_requests_model_version"), "approval_requests", ["model", "version"])
    op.create_table(
        "approval_submitters",
        sa.Column("id", SERIAL, primary_key=True),
        required("request_id", TEXT, sa.ForeignKey("approval_requests.id")),
        required("identity", TEXT),
        required("at", UTC),
        sa.UniqueConstraint("request_id", "identity"),
    )
    op.create_table(
        "approvals",
        sa.Column("id", SERIAL, primary_key=True),
        required("request_id", TEXT, sa.ForeignKey("approval_requests.id")),
        required("role", TEXT),
        required("decision", TEXT),
        required("identity", TEXT),
        required("reason", TEXT),
        required("at", UTC),
        sa.UniqueConstraint("request_id", "role", "decision", "identity"),
    )
