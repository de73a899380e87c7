"""Statements are told with what they were and how long they took."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from autotrader.db.engine import open_database
from autotrader.db.timing import observe_statements
from tests.services import fresh_database


def test_each_statement_is_told_once_and_values_are_no_labels(tmp_path: Path) -> None:
    engine = open_database(fresh_database("sqlite", tmp_path))
    told: list[tuple[str, float]] = []
    observe_statements(engine, lambda operation, seconds: told.append((operation, seconds)))
    with engine.begin() as connection:
        told.clear()  # what begins the transaction
        connection.execute(sa.text("SELECT 1"))
        connection.execute(sa.text("/* a remark */ PRAGMA user_version"))
    assert [operation for operation, _ in told] == ["select", "other"]
    assert all(0 <= seconds < 60 for _, seconds in told)
