"""The tables, as the newest migration leaves them.

Times are UTC with microseconds. JSON columns hold plain JSON (PostgreSQL: jsonb), never NaN.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from autotrader.domain.bars import require_utc
from autotrader.domain.rollout import Color, Outcome, RolloutState, Stage
from autotrader.ports.deployment import SlotState

E = TypeVar("E", bound=StrEnum)

METADATA = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Utc(sa.types.TypeDecorator[datetime]):
    """An instant; refuses one that is not UTC, which SQLite would silently take for UTC."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _: sa.Dialect) -> datetime | None:
        return None if value is None else require_utc(value)

    def process_result_value(self, value: datetime | None, _: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Word(sa.types.TypeDecorator[E], Generic[E]):
    """One of the words of an enumeration, as text."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, kind: type[E]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: E | None, _: sa.Dialect) -> str | None:
        return None if value is None else self.kind(value).value

    def process_result_value(self, value: str | None, _: sa.Dialect) -> E | None:
        return None if value is None else self.kind(value)


Json = sa.JSON().with_variant(JSONB(), "postgresql")
# SQLite numbers rows by itself only where the key is of its own INTEGER type.
Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _required(name: str, kind: Any, *constraints: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, *constraints, nullable=False)


EVENTS = sa.Table(
    "events",
    METADATA,
    sa.Column("id", Serial, primary_key=True),
    _required("key", sa.Text),
    _required("type", sa.Text),
    _required("severity", sa.Text),
    _required("message", sa.Text),
    _required("actor", sa.Text),
    _required("at", Utc),
    sa.Column("instrument", sa.Text),
    _required("data", Json),
    sa.UniqueConstraint("key"),
    sa.Index(None, "at"),
    sa.Index(None, "type", "at"),
)

HOLDS = sa.Table(
    "holds",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("instrument", sa.Text),  # `venue:symbol`; all of them if null
    _required("start", Utc),
    _required("end", Utc),
    _required("reason", sa.Text),
    _required("actor", sa.Text),
    _required("placed_at", Utc),
    sa.Column("released_at", Utc),
    sa.Column("released_by", sa.Text),
)

TRIALS = sa.Table(
    "trials",
    METADATA,
    sa.Column("id", Serial, primary_key=True),
    _required("key", sa.Text),
    _required("strategy_id", sa.Text),
    _required("window_start", Utc),
    _required("window_end", Utc),
    _required("family", sa.Text),
    _required("params", Json),
    _required("state", sa.Text),
    sa.Column("sharpe", sa.Double),
    _required("at", Utc),
    _required("data", Json),
    sa.UniqueConstraint("key"),
    sa.Index(None, "strategy_id", "window_end"),
)

# What the registry is, and is meant to be: MLflow shows it.
MODEL_VERSIONS = sa.Table(
    "model_versions",
    METADATA,
    sa.Column("id", Serial, primary_key=True),
    _required("name", sa.Text),
    _required("training_key", sa.Text),
    _required("major", sa.Integer),
    _required("minor", sa.Integer),
    _required("patch", sa.Integer),
    sa.Column("number", sa.Integer),  # MLflow's version; null until it is registered
    _required("status", sa.Text),
    _required("reason", sa.Text),
    _required("run_id", sa.Text),
    _required("tags", Json),  # given at registration, never changed
    _required("digests", Json),  # file name to SHA-256
    sa.Column("source", sa.Text),  # where MLflow keeps the files
    _required("actor", sa.Text),
    _required("created_at", Utc),
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
    _required("name", sa.Text),
    _required("version_id", Serial, sa.ForeignKey("model_versions.id")),
    _required("kind", sa.Text),  # `registered`, `adopted`, `lost`, `found`, `status`, or an alias
    sa.Column("old", sa.Text),
    sa.Column("new", sa.Text),
    _required("reason", sa.Text),
    _required("actor", sa.Text),
    _required("at", Utc),
    _required("recorded", sa.Boolean),  # its event is in the log
    _required("projected", sa.Boolean),  # MLflow shows it
    sa.Index(None, "name", "projected"),
)

# A rollout as it stands; `revision` grows with each change.
ROLLOUTS = sa.Table(
    "rollouts",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    _required("strategy_id", sa.Text),
    _required("version", sa.Text),
    sa.Column("previous_version", sa.Text),
    _required("candidate", Word(Color)),
    _required("profile", sa.Text),
    _required("state", Word(RolloutState)),
    _required("stage", Word(Stage)),
    sa.Column("stage_outcome", Word(Outcome)),
    _required("goal", Word(Stage)),
    _required("revision", sa.Integer),
    _required("requested_by", sa.Text),
    _required("reason", sa.Text),
    _required("created_at", Utc),
    _required("stage_since", Utc),
    sa.Column("stage_ended", Utc),
    sa.Column("ended_at", Utc),
    _required("is_faulty", sa.Boolean),
    _required("number", sa.Integer),  # in order of their beginning, whatever the clock said
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
    _required("rollout_id", sa.Text, sa.ForeignKey("rollouts.id")),
    _required("stage", Word(Stage)),
    _required("outcome", Word(Outcome)),
    _required("reason", sa.Text),
    _required("seconds", sa.Double),
    _required("evidence", Json),
    sa.Index(None, "rollout_id", "id"),
)

# Who answers for an instrument.
ROUTES = sa.Table(
    "routes",
    METADATA,
    sa.Column("strategy_id", sa.Text, primary_key=True),
    sa.Column("instrument", sa.Text, primary_key=True),  # `venue:symbol`
    _required("color", Word(Color)),
    sa.Column("fallback", Word(Color)),
    _required("epoch", sa.Integer),
    sa.Column("green_until", Utc),
    _required("changed_at", Utc),
    _required("changed_by", sa.Text),
    # The rollout that set it, and so supervises it; null where it was set outside of one.
    sa.Column("rollout_id", sa.Text, sa.ForeignKey("rollouts.id")),
)

# What is meant to run in a colour.
SLOTS = sa.Table(
    "slots",
    METADATA,
    sa.Column("strategy_id", sa.Text, primary_key=True),
    sa.Column("color", Word(Color), primary_key=True),
    _required("state", Word(SlotState)),
    sa.Column("version", sa.Text),
    sa.Column("onnx_sha256", sa.Text),
    sa.Column("endpoint", sa.Text),
    _required("reason", sa.Text),
    _required("changed_at", Utc),
    _required("changed_by", sa.Text),
    sa.Column("warm_until", Utc),
)

# One request answered by both colours.
PAIRS = sa.Table(
    "pairs",
    METADATA,
    sa.Column("id", Serial, primary_key=True),
    _required("rollout_id", sa.Text, sa.ForeignKey("rollouts.id")),
    _required("request_id", sa.Text),
    _required("instrument", sa.Text),
    _required("ts", Utc),
    _required("replayed", sa.Boolean),
    sa.Column("stable_status", sa.Integer),
    _required("candidate_status", sa.Integer),
    sa.Column("stable_seconds", sa.Double),
    _required("candidate_seconds", sa.Double),
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
    _required("at", Utc),
    _required("data", Json),
)

# ------------------------------------------------------------------------- tokens and sign-offs

TOKENS = sa.Table(
    "tokens",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    _required("identity", sa.Text),
    _required("scopes", Json),
    _required("roles", Json),
    _required("sha256", sa.Text),
    _required("created_by", sa.Text),
    _required("created_at", Utc),
    _required("expires_at", Utc),
    sa.Column("revoked_at", Utc),
)

APPROVAL_REQUESTS = sa.Table(
    "approval_requests",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    _required("model", sa.Text),
    _required("version", sa.Text),
    _required("onnx_sha256", sa.Text),
    _required("gate_report_sha256", sa.Text),
    _required("round", sa.Integer),
    _required("requested_at", Utc),
    _required("expires_at", Utc),
    sa.Index(None, "model", "version"),
)

APPROVAL_SUBMITTERS = sa.Table(
    "approval_submitters",
    METADATA,
    sa.Column("id", Serial, primary_key=True),
    _required("request_id", sa.Text, sa.ForeignKey("approval_requests.id")),
    _required("identity", sa.Text),
    _required("at", Utc),
    sa.UniqueConstraint("request_id", "identity"),
)

APPROVALS = sa.Table(
    "approvals",
    METADATA,
    sa.Column("id", Serial, primary_key=True),
    _required("request_id", sa.Text, sa.ForeignKey("approval_requests.id")),
    _required("role", sa.Text),
    _required("decision", sa.Text),
    _required("identity", sa.Text),
    _required("reason", sa.Text),
    _required("at", Utc),
    sa.UniqueConstraint("request_id", "role", "decision", "identity"),
)
