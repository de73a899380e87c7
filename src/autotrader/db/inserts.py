"""Inserts that know what may be there already, the same for SQLite and PostgreSQL."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Dialect

from autotrader.db.rows import names_of
from autotrader.db.statements import Executes, execute_each, execute_many, execute_one, prepare


def insert_new(connection: Executes, table: sa.Table, row: Mapping[str, object]) -> bool:
    """Insert the row; False if one of its unique keys is there already."""
    statement = _insert_told(connection.dialect.name, table)
    return execute_one(connection, statement, row, tuple(row)).fetchone() is not None


def insert_all_new(connection: Executes, table: sa.Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Insert the rows, but for those of which a unique key is there already; all name the same columns."""
    if rows:
        execute_many(connection, _insert(connection.dialect.name, table), rows)


def put_all(connection: Executes, table: sa.Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Insert the rows, each in place of the one of its primary key; all name the same columns."""
    if rows:
        execute_many(connection, _put(connection.dialect.name, table, tuple(rows[0])), rows)


def add_values(connection: Executes, table: sa.Table, values: Sequence[Any]) -> None:
    """As `insert_all_new`, of values of a dataclass whose fields are the columns."""
    if values:
        execute_each(connection, _insert(connection.dialect.name, table), values)


def put_values(connection: Executes, table: sa.Table, values: Sequence[Any]) -> None:
    """As `put_all`, of values of a dataclass whose fields are the columns."""
    if values:
        statement = _put(connection.dialect.name, table, names_of(type(values[0])))
        execute_each(connection, statement, values)


def set_once(connection: Executes, table: sa.Table, values: Sequence[Any], when: str, *what: str) -> None:
    """Insert values of a dataclass; of one that is there, set these columns unless `when` was set before.

    Parameters
    ----------
    when, what : str
        The columns; `when` is one of them.
    """
    if values:
        execute_each(connection, _set_once(connection.dialect.name, table, (when, *what)), values)


def add_to(connection: Connection, table: sa.Table, row: Mapping[str, object], column: str) -> None:
    """Insert the row; where its primary key is there already, add to the column instead."""
    statement = _dialect(connection.dialect.name).insert(table).values(dict(row))
    total = {column: table.c[column] + statement.excluded[column]}
    connection.execute(statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=total))


def prepare_add(dialect: Dialect, table: sa.Table, kind: type) -> None:
    """Do beforehand what the first `add_values` of the dataclass takes long for."""
    prepare(dialect, _insert(dialect.name, table), names_of(kind))


def prepare_put(dialect: Dialect, table: sa.Table, kind: type) -> None:
    """As `prepare_add`, for `put_values`."""
    prepare(dialect, _put(dialect.name, table, names_of(kind)), names_of(kind))


def _dialect(name: str) -> Any:
    return postgresql if name == "postgresql" else sqlite


@functools.cache
def _insert(dialect_name: str, table: sa.Table) -> sa.Executable:
    statement: sa.Executable = _dialect(dialect_name).insert(table).on_conflict_do_nothing()
    return statement


@functools.cache
def _insert_told(dialect_name: str, table: sa.Table) -> sa.Executable:
    # Told by RETURNING: the row count of an insert is not the same thing in all drivers.
    statement = _dialect(dialect_name).insert(table).on_conflict_do_nothing()
    told: sa.Executable = statement.returning(sa.literal_column("1"))
    return told


@functools.cache
def _put(dialect_name: str, table: sa.Table, columns: tuple[str, ...]) -> sa.Executable:
    keys = [column.name for column in table.primary_key]
    statement = _dialect(dialect_name).insert(table)
    replaced = {name: statement.excluded[name] for name in columns if name not in keys}
    upsert: sa.Executable = statement.on_conflict_do_update(index_elements=keys, set_=replaced)
    return upsert


@functools.cache
def _set_once(dialect_name: str, table: sa.Table, columns: tuple[str, ...]) -> sa.Executable:
    statement = _dialect(dialect_name).insert(table)
    upsert: sa.Executable = statement.on_conflict_do_update(
        index_elements=list(table.primary_key),
        set_={name: statement.excluded[name] for name in columns},
        where=table.c[columns[0]].is_(None),
    )
    return upsert
