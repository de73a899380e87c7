"""Opens the database so that every user of it gets the same guarantees.

A transaction is a write transaction unless its connection was taken by `reading`: SQLite then takes
its write lock at the start, so that what was read is still true when it is written, and a busy
database is waited for rather than refused. An outage surfaces as `Unreachable` whatever the
statement was, and JSON columns refuse NaN, which PostgreSQL could not store.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection, Engine, ExceptionContext

from autotrader.db.bulk import execute_many, prepare
from autotrader.domain.errors import AutotraderError, BadData, ConfigurationError, Unreachable

BUSY_TIMEOUT_SECONDS = 30
CONNECT_TIMEOUT_SECONDS = 5

_SQLITE_OUTAGES = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}
_SQLITE_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def open_database(url: str) -> Engine:
    """Connect, and bring the schema up to date where it is behind.

    Processes that open the same database at once migrate it once; one that is killed meanwhile
    leaves the schema as it was before.

    Parameters
    ----------
    url : str
        `sqlite:////absolute/path.db` or `postgresql://user:password@host:port/name`.

    Raises
    ------
    ConfigurationError
        If the URL is of neither kind.
    Unreachable
        If the database does not answer, or its folder cannot be written.
    BadData
        If the file is not a database.
    """
    from autotrader.db.schema import migrate

    engine = connect(url)
    if engine.dialect.name == "sqlite":
        folder = database_file(engine).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unreachable(f"expected to create the folder {folder}, was {error}") from error
    migrate(engine)
    return engine


def connect(url: str) -> Engine:
    """An engine for the database as it is: nothing is created, migrated or contacted yet."""
    parsed = parse_url(url)
    engine: Engine
    if parsed.get_backend_name() == "sqlite":
        engine = sa.create_engine(
            parsed, connect_args={"timeout": BUSY_TIMEOUT_SECONDS}, json_serializer=_to_json
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        try:
            engine = sa.create_engine(
                parsed,
                connect_args={"connect_timeout": CONNECT_TIMEOUT_SECONDS, "application_name": "autotrader"},
                pool_pre_ping=True,
                json_serializer=_to_json,
            )
        except ModuleNotFoundError as error:
            raise ConfigurationError(f"expected psycopg, was {error}: install autotrader[postgres]") from None
    event.listen(engine, "handle_error", _translate)
    return engine


def parse_url(url: str) -> URL:
    """The URL with the driver that we use, checked."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise ConfigurationError("expected a database URL such as sqlite:////path/file.db") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            raise ConfigurationError("expected a SQLite file that processes can share, was memory")
        return parsed.set(drivername="sqlite")
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    raise ConfigurationError(f"expected a database of sqlite or postgresql, was {backend}")


def database_file(engine: Engine) -> Path:
    """Where a SQLite database lies."""
    return Path(str(engine.url.database)).resolve()


@contextlib.contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection for queries only; all of them see one state of the database."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection.execution_options(autotrader_reading=True)


def insert_new(connection: Connection, table: sa.Table, row: Mapping[str, object]) -> bool:
    """Insert the row; False if one of its unique keys is there already."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table).values(dict(row)).on_conflict_do_nothing()
    # Asked for by RETURNING: the row count of an insert is not the same thing in all drivers.
    return connection.execute(statement.returning(sa.literal(1))).first() is not None


def put_all(connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Insert the rows, each in place of the one of its primary key; all name the same columns."""
    if rows:
        execute_many(connection, _put(connection.dialect.name, table, tuple(rows[0])), table, rows)


def prepare_put(connection: Connection, table: sa.Table, columns: Sequence[str]) -> None:
    """Do beforehand what the first `put_all` of rows of these columns takes long for."""
    prepare(connection, _put(connection.dialect.name, table, tuple(columns)), table, columns)


def prepare_insert(connection: Connection, table: sa.Table, columns: Sequence[str]) -> None:
    """As `prepare_put`, for `insert_all_new`."""
    prepare(connection, _insert(connection.dialect.name, table), table, columns)


@functools.cache
def _put(dialect_name: str, table: sa.Table, columns: tuple[str, ...]) -> sa.Executable:
    dialect = postgresql if dialect_name == "postgresql" else sqlite
    keys = [column.name for column in table.primary_key]
    statement = dialect.insert(table)
    replaced = {name: statement.excluded[name] for name in columns if name not in keys}
    upsert: sa.Executable = statement.on_conflict_do_update(index_elements=keys, set_=replaced)
    return upsert


def insert_all_new(connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Insert the rows, but for those of which a unique key is there already."""
    if rows:
        execute_many(connection, _insert(connection.dialect.name, table), table, rows)


@functools.cache
def _insert(dialect_name: str, table: sa.Table) -> sa.Executable:
    dialect = postgresql if dialect_name == "postgresql" else sqlite
    statement: sa.Executable = dialect.insert(table).on_conflict_do_nothing()
    return statement


def insert_or_set_once(
    connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, object]], when: str, *what: str
) -> None:
    """Insert the rows; of one that is there, set these columns unless `when`, one of them, was set before."""
    if not rows:
        return
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table)
    statement = statement.on_conflict_do_update(
        index_elements=list(table.primary_key),
        set_={name: statement.excluded[name] for name in (when, *what)},
        where=table.c[when].is_(None),
    )
    connection.execute(statement, [dict(row) for row in rows])


def _to_json(value: object) -> str:
    return json.dumps(value, allow_nan=False)


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, below
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    # What was committed is on the disk; a library may be built to leave that to the next checkpoint.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get("autotrader_reading", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _translate(context: ExceptionContext) -> None:
    error = context.original_exception
    where = context.engine.url.render_as_string() if context.engine else "the database"
    replacement = _meaning(error, where, disconnected=context.is_disconnect)
    if replacement:
        raise replacement from error


def _meaning(error: BaseException, where: str, *, disconnected: bool) -> AutotraderError | None:
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the extended part
        if code in _SQLITE_DAMAGE:
            return BadData(f"expected a database at {where}, was {error}: restore it from a backup")
        if code not in _SQLITE_OUTAGES:
            return None
    elif not disconnected and "OperationalError" not in {kind.__name__ for kind in type(error).__mro__}:
        return None
    reason = str(error).strip().partition("\n")[0]
    return Unreachable(f"expected the database at {where} to answer, was: {reason}")
