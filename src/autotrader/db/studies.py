"""Optuna's memory of searches in PostgreSQL: any number of workers, on any machine.

A worker holds the advisory lock of the trial that it is at. Optuna's own heartbeat would take a dead
worker's trial up after minutes, and in its loop alone; a lock of the session ends with the worker.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from autotrader.db import locks
from autotrader.db.engine import CONNECT_TIMEOUT_SECONDS
from autotrader.domain.errors import Unreachable

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

SCHEMA = "optuna"


class PostgresStudies:
    """Tables of Optuna in a schema of their own.

    Parameters
    ----------
    engine : Engine
        Of PostgreSQL; its user may create a schema.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextlib.contextmanager
    def open(self, folder: Path) -> Iterator[RDBStorage]:  # noqa: ARG002 - all searches are in one database
        from optuna.exceptions import StorageInternalError

        try:
            storage = self._storage()
            try:
                yield storage
            finally:
                storage.remove_session()
                storage.engine.dispose()
        except (StorageInternalError, sa.exc.OperationalError) as error:
            said = " ".join(str(error.__cause__ or error).split())
            raise Unreachable(f"the database of trials does not answer: {said}") from error

    @contextlib.contextmanager
    def claim(self, name: str) -> Iterator[bool]:
        with locks.claim(self._engine, name) as is_ours:
            yield is_ours

    def _storage(self) -> RDBStorage:
        from optuna.storages import RDBStorage

        # Optuna asks for tables and makes what is missing: two at once would both make it.
        with locks.exclusive(self._engine, "optuna-tables"):
            with self._engine.begin() as connection:
                connection.execute(sa.schema.CreateSchema(SCHEMA, if_not_exists=True))
            return RDBStorage(
                self._engine.url.render_as_string(hide_password=False),
                engine_kwargs={
                    "connect_args": {
                        "options": f"-csearch_path={SCHEMA}",
                        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
                        "application_name": "autotrader",
                    },
                    "pool_pre_ping": True,
                },
            )
