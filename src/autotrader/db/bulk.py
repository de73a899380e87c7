"""Many rows by one statement: what SQLAlchemy works out for each execution is worked out once.

Statements that the trader executes after each bar: their text is compiled, and how each column is
written is looked up, the first time; the driver then gets rows of its own kind.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect

Processor = Callable[[Any], Any]


def execute_many(
    connection: Connection,
    statement: sa.Executable,
    table: sa.Table,
    rows: Sequence[Mapping[str, object]],
) -> None:
    """Execute an insert into the table once for each row; all name the same columns.

    Parameters
    ----------
    statement : Executable
        The same object for the same statement: what was compiled is kept by it.
    """
    text, columns, is_positional = _compiled(connection.dialect, statement, table, tuple(rows[0]))
    if is_positional:
        connection.exec_driver_sql(
            text, [tuple([row[n] if p is None else p(row[n]) for n, p in columns]) for row in rows]
        )
    else:
        connection.exec_driver_sql(
            text, [{n: row[n] if p is None else p(row[n]) for n, p in columns} for row in rows]
        )


def prepare(connection: Connection, statement: sa.Executable, table: sa.Table, names: Sequence[str]) -> None:
    """Compile the statement for rows of these columns, so that the first execution need not."""
    _compiled(connection.dialect, statement, table, tuple(names))


@functools.lru_cache(maxsize=256)
def _compiled(
    dialect: Dialect, statement: sa.ClauseElement, table: sa.Table, names: tuple[str, ...]
) -> tuple[str, list[tuple[str, Processor | None]], bool]:
    compiled = statement.compile(dialect=dialect, column_keys=list(names))
    assert isinstance(compiled, sa.Compiled)  # noqa: S101
    order: Sequence[str] | None = getattr(compiled, "positiontup", None)
    columns: list[tuple[str, Processor | None]] = [
        (name, table.c[name].type.dialect_impl(dialect).bind_processor(dialect)) for name in order or names
    ]
    return str(compiled), columns, order is not None
