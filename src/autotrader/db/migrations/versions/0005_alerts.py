"""Alerts: their state, who is told, the messages on their way, and cases."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"

TEXT = sa.Text()
KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
UTC = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def required(name: str, kind: Any, *constraints: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, *constraints, nullable=False)


def upgrade() -> None:
    make_alerts()
    make_occurrences()
    make_outbox()
    make_cases()


def make_alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", KEY, primary_key=True),
        required("fingerprint", KEY),
        required("name", KEY),
        required("severity", TEXT),
        required("message", TEXT),
        required("runbook", TEXT),
        sa.Column("instrument", TEXT),
        required("relayed", sa.Boolean()),
        required("state", TEXT),
        required("first_at", UTC),
        required("last_at", UTC),
        required("opened_at", UTC),
        required("stamped_at", UTC),
        required("count", sa.BigInteger()),
        sa.Column("told_at", UTC),
        sa.Column("escalated_at", UTC),
        required("escalations", sa.Integer()),
        sa.Column("suppressed_until", UTC),
        sa.Column("review_at", UTC),
        sa.Column("thread", KEY),
        sa.Column("case_id", KEY),
        sa.Column("acknowledged_by", TEXT),
        sa.Column("acknowledged_at", UTC),
        sa.Column("resolved_by", TEXT),
        sa.Column("resolved_at", UTC),
        required("reason", TEXT),
    )
    live = sa.text("state <> 'resolved'")
    index_some("uq_alerts_live", "alerts", ["fingerprint"], live, unique=True)
    index_some("ix_alerts_review", "alerts", ["review_at"], live)
    index_some("ix_alerts_live_name", "alerts", ["name"], live)
    op.create_index(op.f("ix_alerts_fingerprint_opened_at"), "alerts", ["fingerprint", "opened_at"])
    op.create_index(op.f("ix_alerts_opened_at"), "alerts", ["opened_at"])
    op.create_index(op.f("ix_alerts_thread"), "alerts", ["thread"])
    op.create_index(op.f("ix_alerts_case_id"), "alerts", ["case_id"])


def make_occurrences() -> None:
    op.create_table(
        "alert_occurrences",
        sa.Column("event_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("alert_id", KEY),
        required("taken_at", UTC),
    )
    op.create_index(op.f("ix_alert_occurrences_alert_id"), "alert_occurrences", ["alert_id"])
    raising = sa.text("type IN ('ALERT', 'RISK', 'RECOVERY', 'DEPLOYMENT', 'BACKUP')")
    index_some("ix_events_raising", "events", ["id"], raising)
    # What happened before there were alerts is history: nobody is woken for it.
    op.execute(
        "INSERT INTO alert_occurrences (event_id, taken_at) SELECT id, at FROM events "
        "WHERE type IN ('ALERT', 'RISK', 'RECOVERY', 'DEPLOYMENT', 'BACKUP')"
    )


def make_outbox() -> None:
    op.create_table(
        "alert_tellings",
        sa.Column("id", SERIAL, primary_key=True),
        required("alert_id", KEY),
        required("channel", TEXT),
        required("kind", TEXT),
        required("name", KEY),
        required("at", UTC),
        sa.Column("delivery_id", KEY),
    )
    index_some("ix_alert_tellings_untold", "alert_tellings", ["name"], sa.text("delivery_id IS NULL"))
    op.create_index(op.f("ix_alert_tellings_alert_id"), "alert_tellings", ["alert_id"])
    op.create_table(
        "alert_deliveries",
        sa.Column("id", KEY, primary_key=True),
        required("channel", TEXT),
        required("name", KEY),
        required("severity", TEXT),
        required("message", JSON),
        required("tried", JSON),
        required("state", TEXT),
        required("created_at", UTC),
        required("attempts", sa.Integer()),
        sa.Column("attempted_at", UTC),
        required("next_at", UTC),
        required("last_error", TEXT),
        sa.Column("finished_at", UTC),
    )
    index_some("ix_alert_deliveries_waiting", "alert_deliveries", ["channel"], sa.text("state = 'waiting'"))
    index_some("ix_alert_deliveries_dead", "alert_deliveries", ["created_at"], sa.text("state = 'dead'"))
    for column in ("name", "channel"):
        op.create_index(
            op.f(f"ix_alert_deliveries_{column}_created_at"), "alert_deliveries", [column, "created_at"]
        )
    op.create_table(
        "alert_counters",
        sa.Column("name", KEY, primary_key=True),
        sa.Column("channel", KEY, primary_key=True),
        sa.Column("severity", KEY, primary_key=True),
        required("value", sa.BigInteger()),
    )


def make_cases() -> None:
    op.create_table(
        "alert_cases",
        sa.Column("id", KEY, primary_key=True),
        required("title", TEXT),
        required("owner", TEXT),
        required("opened_by", TEXT),
        required("opened_at", UTC),
        sa.Column("closed_by", TEXT),
        sa.Column("closed_at", UTC),
        required("outcome", TEXT),
    )
    op.create_index(op.f("ix_alert_cases_opened_at"), "alert_cases", ["opened_at"])
    op.create_table(
        "alert_case_entries",
        sa.Column("id", SERIAL, primary_key=True),
        required("case_id", KEY),
        required("at", UTC),
        required("actor", TEXT),
        required("text", TEXT),
    )
    op.create_index(op.f("ix_alert_case_entries_case_id"), "alert_case_entries", ["case_id"])


def index_some(
    name: str, table: str, columns: list[str], where: sa.TextClause, *, unique: bool = False
) -> None:
    op.create_index(name, table, columns, unique=unique, sqlite_where=where, postgresql_where=where)
