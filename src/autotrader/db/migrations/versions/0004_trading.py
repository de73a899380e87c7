"""The trader: leases, accounts, orders, fills, positions, and what is told of them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"

TEXT = sa.Text()
KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
EXACT = sa.Text().with_variant(sa.Numeric(), "postgresql")
UTC = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def required(name: str, kind: Any, *constraints: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, *constraints, nullable=False)


def upgrade() -> None:
    make_accounts()
    make_orders()
    make_positions()
    make_history()
    make_incidents()


def make_accounts() -> None:
    op.create_table(
        "leases",
        sa.Column("account", KEY, primary_key=True),
        required("owner", TEXT),
        required("token", sa.BigInteger()),
        required("expires_at", UTC),
        required("released", sa.Boolean()),
    )
    op.create_table(
        "system_state",
        sa.Column("account", KEY, primary_key=True),
        required("strategy_id", TEXT),
        required("venue", TEXT),
        required("status", TEXT),
        required("heartbeat_at", UTC),
        required("started_at", UTC),
        required("owner", TEXT),
        required("source", TEXT),
        required("base_currency", TEXT),
        required("initial_equity", EXACT),
        required("peak_equity", EXACT),
        required("day_start_equity", EXACT),
        required("equity", EXACT),
        required("cash", JSON),
        required("restrictions", JSON),
        sa.Column("day", sa.Date()),
        required("consecutive_losses", sa.Integer()),
        sa.Column("cursor", UTC),
        sa.Column("fills_since", UTC),
        required("memory", JSON),
        required("revision", sa.BigInteger()),
    )
    op.create_table(
        "controls",
        sa.Column("id", KEY, primary_key=True),
        required("account", KEY),
        required("kind", TEXT),
        required("actor", TEXT),
        required("reason", TEXT),
        required("asked_at", UTC),
        sa.Column("answered_at", UTC),
        required("answer", TEXT),
    )
    unanswered = sa.text("answered_at IS NULL")
    op.create_index(
        "ix_controls_unanswered",
        "controls",
        ["account"],
        sqlite_where=unanswered,
        postgresql_where=unanswered,
    )
    op.create_table(
        "strategies",
        sa.Column("id", TEXT, primary_key=True),
        required("enabled", sa.Boolean()),
        required("revision", sa.Integer()),
        required("actor", TEXT),
        required("reason", TEXT),
        required("changed_at", UTC),
    )


def make_orders() -> None:
    op.create_table(
        "orders",
        sa.Column("client_order_id", KEY, primary_key=True),
        required("account", KEY),
        required("strategy_id", TEXT),
        required("instrument", KEY),
        required("side", TEXT),
        required("quantity", EXACT),
        required("type", TEXT),
        sa.Column("limit_price", EXACT),
        required("reference_price", EXACT),
        required("reduces", sa.Boolean()),
        required("decided_at", UTC),
        required("valid_until", UTC),
        required("recorded_at", UTC),
        required("reason", TEXT),
        required("status", TEXT),
        sa.Column("venue_order_id", TEXT),
        required("filled", EXACT),
        sa.Column("average_price", EXACT),
    )
    op.create_index(op.f("ix_orders_account_decided_at"), "orders", ["account", "decided_at"])
    working = sa.text("status IN ('recorded', 'sent', 'open')")
    op.create_index(
        "ix_orders_working", "orders", ["account"], sqlite_where=working, postgresql_where=working
    )
    op.create_table(
        "fills",
        sa.Column("account", KEY, primary_key=True),
        sa.Column("instrument", KEY, primary_key=True),
        sa.Column("fill_id", KEY, primary_key=True),
        sa.Column("client_order_id", TEXT),
        sa.Column("venue_order_id", TEXT),
        required("side", TEXT),
        required("quantity", EXACT),
        required("price", EXACT),
        required("fee", EXACT),
        required("fee_currency", TEXT),
        required("at", UTC),
    )
    op.create_index(op.f("ix_fills_account_at"), "fills", ["account", "at"])


def make_positions() -> None:
    op.create_table(
        "positions",
        sa.Column("account", KEY, primary_key=True),
        sa.Column("instrument", KEY, primary_key=True),
        required("quantity", EXACT),
        required("cost", EXACT),
        required("realised", EXACT),
        required("fees", EXACT),
        sa.Column("opened_at", UTC),
        required("entered", EXACT),
        required("left", EXACT),
        required("entered_value", EXACT),
        required("left_value", EXACT),
        required("trip_fees", EXACT),
    )
    op.create_table(
        "trades",
        sa.Column("account", KEY, primary_key=True),
        sa.Column("closed_at", UTC, primary_key=True),
        sa.Column("instrument", KEY, primary_key=True),
        required("side", TEXT),
        required("quantity", EXACT),
        required("entry", EXACT),
        required("exit", EXACT),
        required("fees", EXACT),
        required("pnl", EXACT),
        required("opened_at", UTC),
        sqlite_with_rowid=False,
    )


def make_history() -> None:
    op.create_table(
        "signals",
        sa.Column("account", KEY, primary_key=True),
        sa.Column("ts", UTC, primary_key=True),
        sa.Column("instrument", KEY, primary_key=True),
        required("strategy_id", TEXT),
        sa.Column("version", TEXT),
        sa.Column("color", TEXT),
        sa.Column("epoch", sa.Integer()),
        sa.Column("score", sa.Double()),
        sa.Column("confidence", sa.Double()),
        required("target", sa.Double()),
        required("price", EXACT),
        sa.Column("client_order_id", TEXT),
        required("outcome", TEXT),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "equity",
        sa.Column("account", KEY, primary_key=True),
        sa.Column("at", UTC, primary_key=True),
        required("equity", EXACT),
        required("cash", EXACT),
        required("drawdown", sa.Double()),
        required("daily_pnl", EXACT),
        sqlite_with_rowid=False,
    )


def make_incidents() -> None:
    op.create_table(
        "recovery_events",
        sa.Column("id", KEY, primary_key=True),
        required("account", KEY),
        required("kind", TEXT),
        required("at", UTC),
        required("seconds", sa.Double()),
        required("adopted_fills", sa.Integer()),
        required("discrepancies", JSON),
        required("resolved", sa.Boolean()),
        required("reason", TEXT),
        sa.Column("acknowledged_by", TEXT),
        sa.Column("acknowledged_at", UTC),
    )
    op.create_index(op.f("ix_recovery_events_account_at"), "recovery_events", ["account", "at"])
    op.create_table(
        "order_dead_letters",
        sa.Column("account", KEY, primary_key=True),
        sa.Column("client_order_id", KEY, primary_key=True),
        required("at", UTC),
        required("attempts", sa.Integer()),
        required("reason", TEXT),
    )
    op.create_index(op.f("ix_order_dead_letters_account_at"), "order_dead_letters", ["account", "at"])
