"""Write transactions by the driver itself.

For what orders wait for: SQLAlchemy's connection, transaction and results take longer together than
SQLite takes for the rows. The connection is one of the engine's pool, and so is as it makes them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from sqlalchemy.engine import Dialect, Engine

from autotrader.db.engine import outage


class Direct:
    """A transaction of the driver's, for statements whose text is known.

    Parameters
    ----------
    dialect : Dialect
    cursor
        The driver's. What a statement has found is to be fetched before the next one.
    """

    def __init__(self, dialect: Dialect, cursor: Any) -> None:
        self.dialect = dialect
        self._cursor = cursor

    def exec_driver_sql(self, statement: str, parameters: Any = None, /) -> Any:
        if isinstance(parameters, list):
            self._cursor.executemany(statement, parameters)
        else:
            self._cursor.execute(statement, parameters)
        return self._cursor


@contextlib.contextmanager
def writing(engine: Engine) -> Iterator[Direct]:
    """A write transaction, committed unless something is raised.

    Raises
    ------
    Unreachable
        If the database does not answer.
    BadData
        If the file is damaged.
    """
    errors = engine.dialect.loaded_dbapi.Error
    connection = None
    try:
        connection = engine.raw_connection()
        driver: Any = connection.driver_connection
        if engine.dialect.name == "sqlite":
            driver.execute("BEGIN IMMEDIATE")  # in PostgreSQL the driver begins by itself
        cursor = driver.cursor()
        yield Direct(engine.dialect, cursor)
        cursor.close()
        driver.commit()
    except errors as error:
        has_ended = connection is None or engine.dialect.is_disconnect(error, connection, None)
        if connection is not None and has_ended:
            connection.invalidate(error)
        raise (outage(error, engine, disconnected=has_ended) or error) from error
    finally:
        if connection is not None:
            connection.close()  # the pool takes back what was not committed
