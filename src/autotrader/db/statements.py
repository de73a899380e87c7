"""Statements whose text SQLAlchemy works out once, and not for each execution.

For what the trader executes after each bar: the text is compiled, and how each value is written is
looked up, the first time; the driver then gets values of its own kind.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from autotrader.db.rows import names_of

Processor = Callable[[Any], Any]


class Executes(Protocol):
    """A transaction's connection: SQLAlchemy's, or the driver's own."""

    @property
    def dialect(self) -> Dialect: ...

    def exec_driver_sql(self, statement: str, parameters: Any = None, /) -> Any:
        """Carry out a statement with one's values, or with each of a list; returns a cursor."""
        ...


class Text:
    """The text of a statement for one kind of database, and how its values are written.

    Parameters
    ----------
    statement : ClauseElement
    dialect : Dialect
    columns : tuple of str
        That it sets.

    Attributes
    ----------
    sql : str

    Raises
    ------
    TypeError
        If its text differs with the number of values, as that of IN does.
    """

    __slots__ = ("_changed", "_fields", "_fixed", "_is_positional", "_writers", "sql")

    def __init__(self, statement: sa.ClauseElement, dialect: Dialect, columns: tuple[str, ...] = ()) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(columns))
        assert isinstance(compiled, sa.sql.compiler.SQLCompiler)  # noqa: S101
        names = tuple(compiled.positiontup or compiled.binds)
        binds = {name: compiled.binds[name] for name in names}
        if lists := [name for name, bind in binds.items() if bind.expanding]:
            raise TypeError(f"expected a statement without IN, whose text differs, was one with {lists}")
        self.sql = str(compiled)
        self._writers = tuple((name, _writer(binds[name].type, dialect)) for name in names)
        self._fixed = {name: bind.effective_value for name, bind in binds.items() if not bind.required}
        self._is_positional = compiled.positional
        self._fields = attrgetter(*names) if len(names) > 1 else lambda value: (getattr(value, *names),)
        self._changed = [(place, w) for place, (_, w) in enumerate(self._writers) if w is not None]

    def written(self, values: Mapping[str, object]) -> Any:
        """The values as the driver takes them; what is not given is as the statement has it."""
        given = {**self._fixed, **values} if self._fixed else values
        if self._is_positional:
            return tuple([given[n] if w is None else w(given[n]) for n, w in self._writers])
        return {n: given[n] if w is None else w(given[n]) for n, w in self._writers}

    def written_fields(self, value: Any) -> Any:
        """The fields of a dataclass as the driver takes them."""
        row = list(self._fields(value))
        for place, writer in self._changed:
            row[place] = writer(row[place])
        return row if self._is_positional else dict(zip((n for n, _ in self._writers), row, strict=True))


def _writer(kind: sa.types.TypeEngine[Any], dialect: Dialect) -> Processor | None:
    return kind.dialect_impl(dialect).bind_processor(dialect)


def execute_many(
    connection: Executes, statement: sa.Executable, rows: Sequence[Mapping[str, object]]
) -> None:
    """Execute an insert once for each row; all name the same columns.

    Parameters
    ----------
    statement : Executable
        The same object for the same statement: what was compiled is kept by it.
    """
    text = _text(connection.dialect, statement, tuple(rows[0]))
    connection.exec_driver_sql(text.sql, [text.written(row) for row in rows])


def execute_each(connection: Executes, statement: sa.Executable, values: Sequence[Any]) -> None:
    """As `execute_many`, once for each value of a dataclass whose fields are the columns."""
    text = _text(connection.dialect, statement, names_of(type(values[0])))
    connection.exec_driver_sql(text.sql, list(map(text.written_fields, values)))


def execute_one(
    connection: Executes,
    statement: sa.Executable,
    values: Mapping[str, object],
    columns: tuple[str, ...] = (),
) -> Any:
    """Execute a statement with these values.

    Parameters
    ----------
    statement : Executable
        As of `execute_many`.
    values : Mapping
        Of its parameters and of the columns.
    columns : tuple of str
        That it sets.

    Returns
    -------
    cursor
        What was found, as the driver reads it: `fetchone`, `rowcount`.
    """
    text = _text(connection.dialect, statement, columns)
    return connection.exec_driver_sql(text.sql, text.written(values))


def prepare(dialect: Dialect, statement: sa.Executable, columns: Sequence[str]) -> None:
    """Compile the statement for these columns, so that the first execution need not."""
    _text(dialect, statement, tuple(columns))


@functools.lru_cache(maxsize=256)
def _text(dialect: Dialect, statement: sa.ClauseElement, columns: tuple[str, ...]) -> Text:
    return Text(statement, dialect, columns)
