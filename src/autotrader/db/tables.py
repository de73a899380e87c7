"""The tables, as the newest migration leaves them.

Times are UTC with microseconds. JSON columns hold plain JSON (PostgreSQL: jsonb), never NaN.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from autotrader.domain.bars import require_utc

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
