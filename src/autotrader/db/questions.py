"""Questions that are asked again and again: what SQLAlchemy works out for each is worked out once.

A select of a hundred rows takes as long in SQLAlchemy as in the database, three times over: its text is
made and looked up anew, and each value goes through functions in Python. Here the text is compiled,
and how each column is read is looked up, the first time; columns are then read whole.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect

from autotrader.db.statements import Processor, Text

T = TypeVar("T")


class Question(Generic[T]):
    """A select, and what becomes of its rows.

    Parameters
    ----------
    statement : Select
        What differs from time to time is a `bindparam` with a type.
    make : Callable
        A value of the row's columns, in their order.
    """

    def __init__(self, statement: sa.Select[*tuple[Any, ...]], make: Callable[..., T]) -> None:
        self.statement = statement
        self._make = make

    def all(self, connection: Connection, **values: object) -> list[T]:
        """A value of each row, in the order of the statement."""
        rows, readers = self._ask(connection, values)
        if not rows:
            return []
        columns = zip(*rows, strict=True)
        read = [c if r is None else map(r, c) for c, r in zip(columns, readers, strict=True)]
        return list(map(self._make, *read))

    def first(self, connection: Connection, **values: object) -> T | None:
        """The value of the first row; None without one."""
        rows, readers = self._ask(connection, values)
        if not rows:
            return None
        return self._make(*[v if r is None else r(v) for v, r in zip(rows[0], readers, strict=True)])

    def _ask(
        self, connection: Connection, values: dict[str, object]
    ) -> tuple[Sequence[Sequence[Any]], Sequence[Processor | None]]:
        asked = _compiled(self, connection.dialect)
        result = connection.exec_driver_sql(asked.text.sql, asked.text.written(values))
        readers = asked.readers or asked.learn(result.cursor.description if result.cursor else ())
        return result.all(), readers


class _Compiled:
    """The text of one database, and how its columns are read."""

    def __init__(self, statement: sa.Select[*tuple[Any, ...]], dialect: Dialect) -> None:
        self.text = Text(statement, dialect)
        self.readers: list[Processor | None] = []
        self._kinds = [column.type for column in statement.selected_columns]
        self._dialect = dialect

    def learn(self, description: Sequence[Any]) -> list[Processor | None]:
        """How the columns are read that the driver describes so."""
        self.readers = [
            kind.dialect_impl(self._dialect).result_processor(self._dialect, column[1])
            for kind, column in zip(self._kinds, description, strict=True)
        ]
        return self.readers


@functools.lru_cache(maxsize=512)
def _compiled(question: Question[Any], dialect: Dialect) -> _Compiled:
    return _Compiled(question.statement, dialect)
