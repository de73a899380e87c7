"""The tables of alerts: what happened, who is to be told, which messages are on their way."""

from __future__ import annotations

import sqlalchemy as sa

from autotrader.db.columns import METADATA, Json, Key, Serial, Utc, Word, required
from autotrader.domain.alerts import Severity
from autotrader.ports.alerts import AlertState, ChannelName, DeliveryState, Telling

_LIVE = sa.text("state <> 'resolved'")
_UNTOLD = sa.text("delivery_id IS NULL")
_WAITING = sa.text("state = 'waiting'")
_DEAD = sa.text("state = 'dead'")

ALERTS = sa.Table(
    "alerts",
    METADATA,
    sa.Column("id", Key, primary_key=True),
    required("fingerprint", Key),
    required("name", Key),
    required("severity", Word(Severity)),
    required("message", sa.Text),
    required("runbook", sa.Text),
    sa.Column("instrument", sa.Text),
    required("relayed", sa.Boolean),
    required("state", Word(AlertState)),
    required("first_at", Utc),
    required("last_at", Utc),
    required("opened_at", Utc),
    required("stamped_at", Utc),
    required("count", sa.BigInteger),
    sa.Column("told_at", Utc),
    sa.Column("escalated_at", Utc),
    required("escalations", sa.Integer),
    sa.Column("suppressed_until", Utc),
    sa.Column("review_at", Utc),
    sa.Column("thread", Key),
    sa.Column("case_id", Key),
    sa.Column("acknowledged_by", sa.Text),
    sa.Column("acknowledged_at", Utc),
    sa.Column("resolved_by", sa.Text),
    sa.Column("resolved_at", Utc),
    required("reason", sa.Text),
    sa.Index("uq_alerts_live", "fingerprint", unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE),
    sa.Index(None, "fingerprint", "opened_at"),
    sa.Index(None, "opened_at"),
    sa.Index("ix_alerts_review", "review_at", sqlite_where=_LIVE, postgresql_where=_LIVE),
    sa.Index("ix_alerts_live_name", "name", sqlite_where=_LIVE, postgresql_where=_LIVE),
    sa.Index(None, "thread"),
    sa.Index(None, "case_id"),
)

# Events that were taken up. `alert_id` is null of one that raised none, or that is older than this table.
ALERT_OCCURRENCES = sa.Table(
    "alert_occurrences",
    METADATA,
    sa.Column("event_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("alert_id", Key),
    required("taken_at", Utc),
    sa.Index(None, "alert_id"),
)

# Who is to be told of what; `delivery_id` names the message that does it.
ALERT_TELLINGS = sa.Table(
    "alert_tellings",
    METADATA,
    sa.Column("id", Serial, primary_key=True),
    required("alert_id", Key),
    required("channel", Word(ChannelName)),
    required("kind", Word(Telling)),
    required("name", Key),
    required("at", Utc),
    sa.Column("delivery_id", Key),
    sa.Index("ix_alert_tellings_untold", "name", sqlite_where=_UNTOLD, postgresql_where=_UNTOLD),
    sa.Index(None, "alert_id"),
)

ALERT_DELIVERIES = sa.Table(
    "alert_deliveries",
    METADATA,
    sa.Column("id", Key, primary_key=True),
    required("channel", Word(ChannelName)),
    required("name", Key),
    required("severity", Word(Severity)),
    required("message", Json),
    required("tried", Json),
    required("state", Word(DeliveryState)),
    required("created_at", Utc),
    required("attempts", sa.Integer),
    sa.Column("attempted_at", Utc),
    required("next_at", Utc),
    required("last_error", sa.Text),
    sa.Column("finished_at", Utc),
    sa.Index("ix_alert_deliveries_waiting", "channel", sqlite_where=_WAITING, postgresql_where=_WAITING),
    sa.Index("ix_alert_deliveries_dead", "created_at", sqlite_where=_DEAD, postgresql_where=_DEAD),
    sa.Index(None, "name", "created_at"),
    sa.Index(None, "channel", "created_at"),
)

ALERT_COUNTERS = sa.Table(
    "alert_counters",
    METADATA,
    sa.Column("name", Key, primary_key=True),
    sa.Column("channel", Key, primary_key=True),
    sa.Column("severity", Key, primary_key=True),
    required("value", sa.BigInteger),
)

ALERT_CASES = sa.Table(
    "alert_cases",
    METADATA,
    sa.Column("id", Key, primary_key=True),
    required("title", sa.Text),
    required("owner", sa.Text),
    required("opened_by", sa.Text),
    required("opened_at", Utc),
    sa.Column("closed_by", sa.Text),
    sa.Column("closed_at", Utc),
    required("outcome", sa.Text),
    sa.Index(None, "opened_at"),
)

ALERT_CASE_ENTRIES = sa.Table(
    "alert_case_entries",
    METADATA,
    sa.Column("id", Serial, primary_key=True),
    required("case_id", Key),
    required("at", Utc),
    required("actor", sa.Text),
    required("text", sa.Text),
    sa.Index(None, "case_id"),
)
