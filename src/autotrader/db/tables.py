"""The tables, as the newest migration leaves them.

Those of the trader are in `trading_tables`, those of alerts in `alert_tables`, of jobs in `job_tables`.
"""

from __future__ import annotations

import sqlalchemy as sa

from autotrader.db import alert_tables, job_tables, trading_tables  # noqa: F401 - METADATA is of all tables
from autotrader.db.columns import METADATA as METADATA
from autotrader.db.columns import Json, Serial, Utc, Word, required
from autotrader.domain.rollout import Color, Outcome, RolloutState, Stage
from autotrader.ports.deployment import SlotState

_RAISING = sa.text("type IN ('ALERT', 'RISK', 'RECOVERY', 'DEPLOYMENT', 'BACKUP')")

EVENTS = sa.Table(
    "events",
    METADATA,
    sa.Column("id", Serial, primary_key=True),
    required("key", sa.Text),
    required("type", sa.Text),
    required("severity", sa.Text),
    required("message", sa.Text),
    required("actor", sa.Text),
    required("at", Utc),
    sa.Column("instrument", sa.Text),
    required("data", Json),
    sa.UniqueConstraint("key"),
    sa.Index(None, "at"),
    sa.Index(None, "type", "at"),
    # What may raise an alert: few among many.
    sa.Index("ix_events_raising", "id", sqlite_where=_RAISING, postgresql_where=_RAISING),
)

HOLDS = sa.Table(
    "holds",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("instrument", sa.Text),  # `venue:symbol`; all of them if null
    required("start", Utc),
    required("end", Utc),
    required("reason", sa.Text),
    required("actor", sa.Text),
    required("placed_at", Utc),
    sa.Column("released_at", Utc),
    sa.Column("released_by", sa.Text),
)

TRIALS = sa.Table(
    "trials",
    METADATA,
    sa.Column("id", Serial, primary_key=True),
    required("key", sa.Text),
    required("strategy_id", sa.Text),
    required("window_start", Utc),
    required("window_end", Utc),
    required("family", sa.Text),
    required("params", Json),
    required("state", sa.Text),
    sa.Column("sharpe", sa.Double),
    required("at", Utc),
    required("data", Json),
    sa.UniqueConstraint("key"),
    sa.Index(None, "strategy_id", "window_end"),
)

# What the registry is, and is meant to be: MLflow shows it.
MODEL_VERSIONS = sa.Table(
    "model_versions",
    METADATA,
    sa.Column("id", Serial, primary_key=True),
    required("name", sa.Text),
    required("training_key", sa.Text),
    required("major", sa.Integer),
    required("minor", sa.Integer),
    required("patch", sa.Integer),
    sa.Column("number", sa.Integer),  # MLflow's version; null until it is registered
    required("status", sa.Text),
    required("reason", sa.Text),
    required("run_id", sa.Text),
    required("tags", Json),  # given at registration, never changed
    required("digests", Json),  # file name to SHA-256
    sa.Column("source", sa.Text),  # where MLflow keeps the files
    required("actor", sa.Text),
    required("created_at", Utc),
    sa.UniqueConstraint("name", "training_key"),
    sa.UniqueConstraint("name", "major", "minor", "patch"),
    sa.UniqueConstraint("name", "number"),
)

MODEL_ALIASES = sa.Table(
    "model_aliases",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("alias", sa.Text, primary_key=True),
    # Null: removed on purpose, so an alias that MLflow still shows is to go.
    sa.Column("version_id", Serial, sa.ForeignKey("model_versions.id")),
)

# One row a change, in order; what is not yet recorded or projected is still to do.
MODEL_CHANGES = sa.Table(
    "model_changes",
    METADATA,
    sa.Column("id", Serial, primary_key=True),
    required("name", sa.Text),
    required("version_id", Serial, sa.ForeignKey("model_versions.id")),
    required("kind", sa.Text),  # `registered`, `adopted`, `lost`, `found`, `status`, or an alias
    sa.Column("old", sa.Text),
    sa.Column("new", sa.Text),
    required("reason", sa.Text),
    required("actor", sa.Text),
    required("at", Utc),
    required("recorded", sa.Boolean),  # its event is in the log
    required("projected", sa.Boolean),  # MLflow shows it
    sa.Index(None, "name", "projected"),
)

# A rollout as it stands; `revision` grows with each change.
ROLLOUTS = sa.Table(
    "rollouts",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    required("strategy_id", sa.Text),
    required("version", sa.Text),
    sa.Column("previous_version", sa.Text),
    required("candidate", Word(Color)),
    required("profile", sa.Text),
    required("state", Word(RolloutState)),
    required("stage", Word(Stage)),
    sa.Column("stage_outcome", Word(Outcome)),
    required("goal", Word(Stage)),
    required("revision", sa.Integer),
    required("requested_by", sa.Text),
    required("reason", sa.Text),
    required("created_at", Utc),
    required("stage_since", Utc),
    sa.Column("stage_ended", Utc),
    sa.Column("ended_at", Utc),
    required("is_faulty", sa.Boolean),
    required("number", sa.Integer),  # in order of their beginning, whatever the clock said
    sa.UniqueConstraint("strategy_id", "number"),
)
_UNDER_WAY = sa.text("state NOT IN ('rolled_back', 'completed')")
# At most one at a time, whoever asks.
sa.Index(
    "uq_rollouts_under_way",
    ROLLOUTS.c.strategy_id,
    unique=True,
    sqlite_where=_UNDER_WAY,
    postgresql_where=_UNDER_WAY,
)

ROLLOUT_STAGES = sa.Table(
    "rollout_stages",
    METADATA,
    sa.Column("id", Serial, primary_key=True),
    required("rollout_id", sa.Text, sa.ForeignKey("rollouts.id")),
    required("stage", Word(Stage)),
    required("outcome", Word(Outcome)),
    required("reason", sa.Text),
    required("seconds", sa.Double),
    required("evidence", Json),
    sa.Index(None, "rollout_id", "id"),
)

# Who answers for an instrument.
ROUTES = sa.Table(
    "routes",
    METADATA,
    sa.Column("strategy_id", sa.Text, primary_key=True),
    sa.Column("instrument", sa.Text, primary_key=True),  # `venue:symbol`
    required("color", Word(Color)),
    sa.Column("fallback", Word(Color)),
    required("epoch", sa.Integer),
    sa.Column("green_until", Utc),
    required("changed_at", Utc),
    required("changed_by", sa.Text),
    # The rollout that set it, and so supervises it; null where it was set outside of one.
    sa.Column("rollout_id", sa.Text, sa.ForeignKey("rollouts.id")),
)

# What is meant to run in a colour.
SLOTS = sa.Table(
    "slots",
    METADATA,
    sa.Column("strategy_id", sa.Text, primary_key=True),
    sa.Column("color", Word(Color), primary_key=True),
    required("state", Word(SlotState)),
    sa.Column("version", sa.Text),
    sa.Column("onnx_sha256", sa.Text),
    sa.Column("endpoint", sa.Text),
    required("reason", sa.Text),
    required("changed_at", Utc),
    required("changed_by", sa.Text),
    sa.Column("warm_until", Utc),
)

# One request answered by both colours.
PAIRS = sa.Table(
    "pairs",
    METADATA,
    sa.Column("id", Serial, primary_key=True),
    required("rollout_id", sa.Text, sa.ForeignKey("rollouts.id")),
    required("request_id", sa.Text),
    required("instrument", sa.Text),
    required("ts", Utc),
    required("replayed", sa.Boolean),
    sa.Column("stable_status", sa.Integer),
    required("candidate_status", sa.Integer),
    sa.Column("stable_seconds", sa.Double),
    required("candidate_seconds", sa.Double),
    sa.Column("stable_score", sa.Double),
    sa.Column("candidate_score", sa.Double),
    sa.Column("parity_difference", sa.Double),
    sa.UniqueConstraint("rollout_id", "request_id"),
    sa.Index(None, "rollout_id", "id"),
)

HEARTBEATS = sa.Table(
    "heartbeats",
    METADATA,
    sa.Column("strategy_id", sa.Text, primary_key=True),
    sa.Column("component", sa.Text, primary_key=True),
    required("at", Utc),
    required("data", Json),
)

# ------------------------------------------------------------------------- tokens and sign-offs

TOKENS = sa.Table(
    "tokens",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    required("identity", sa.Text),
    required("scopes", Json),
    required("roles", Json),
    required("sha256", sa.Text),
    required("created_by", sa.Text),
    required("created_at", Utc),
    required("expires_at", Utc),
    sa.Column("revoked_at", Utc),
)

APPROVAL_REQUESTS = sa.Table(
    "approval_requests",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    required("model", sa.Text),
    required("version", sa.Text),
    required("onnx_sha256", sa.Text),
    required("gate_report_sha256", sa.Text),
    required("round", sa.Integer),
    required("requested_at", Utc),
    required("expires_at", Utc),
    sa.Index(None, "model", "version"),
)

APPROVAL_SUBMITTERS = sa.Table(
    "approval_submitters",
    METADATA,
    sa.Column("id", Serial, primary_key=True),
    required("request_id", sa.Text, sa.ForeignKey("approval_requests.id")),
    required("identity", sa.Text),
    required("at", Utc),
    sa.UniqueConstraint("request_id", "identity"),
)

APPROVALS = sa.Table(
    "approvals",
    METADATA,
    sa.Column("id", Serial, primary_key=True),
    required("request_id", sa.Text, sa.ForeignKey("approval_requests.id")),
    required("role", sa.Text),
    required("decision", sa.Text),
    required("identity", sa.Text),
    required("reason", sa.Text),
    required("at", Utc),
    sa.UniqueConstraint("request_id", "role", "decision", "identity"),
)
