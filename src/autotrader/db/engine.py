"""Opens the database so that every user of it gets the same guarantees.

A transaction is a write transaction unless its connection was taken by `reading`: SQLite then takes
its write lock at the start, so that what was read is still true when it is written, and a busy
database is waited for rather than refused. An outage surfaces as `Unreachable` whatever the
statement was, and JSON columns refuse NaN, which PostgreSQL could not store.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, ExceptionContext

from autotrader.domain.errors import AutotraderError, BadData, ConfigurationError, Unreachable

BUSY_TIMEOUT_SECONDS = 30
CONNECT_TIMEOUT_SECONDS = 5
_BUSY_PAUSE_SECONDS = 0.01

_SQLITE_OUTAGES = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,  # too many open it at this moment
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


def _to_json(value: object) -> str:
    return json.dumps(value, allow_nan=False)


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, below
    cursor = connection.cursor()
    _write_ahead(cursor)
    # What was committed is on the disk; a library may be built to leave that to the next checkpoint.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    # SQLite does not wait for others with this one: while two processes open a new database, it refuses one.
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(_BUSY_PAUSE_SECONDS)


def _begin_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get("autotrader_reading", False)
    driver: Any = connection.connection.driver_connection
    # By the driver itself: SQLAlchemy takes longer for it than SQLite, and transactions are short.
    try:
        driver.execute("BEGIN" if reads else "BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        raise (outage(error, connection.engine) or error) from error


def _translate(context: ExceptionContext) -> None:
    if context.is_pre_ping:
        return  # the pool replaces the connection: nobody's statement has failed
    replacement = outage(context.original_exception, context.engine, disconnected=context.is_disconnect)
    if replacement:
        raise replacement from context.original_exception


def outage(
    error: BaseException, engine: Engine | None, *, disconnected: bool = False
) -> AutotraderError | None:
    """What a driver's error says of the database as a whole; None where the statement is at fault."""
    where = engine.url.render_as_string() if engine else "the database"
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
