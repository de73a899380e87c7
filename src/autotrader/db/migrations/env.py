"""Alembic's entry point: runs the migrations in the transaction that `autotrader.db.schema` opened."""

from __future__ import annotations

from alembic import context

from autotrader.db.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,  # SQLite alters a table by copying it
)
context.run_migrations()
