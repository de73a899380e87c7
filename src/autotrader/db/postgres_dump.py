"""A PostgreSQL database as a file of `pg_dump`, and back."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from autotrader.db.dumps import TableContent, digest_of
from autotrader.db.engine import connect, parse_url
from autotrader.domain.errors import ConfigurationError, Refused, Rejected, Unreachable

_PATIENCE_SECONDS = 4 * 3600  # the whole recovery may not take longer
_LONGEST_NAME = 63  # https://www.postgresql.org/docs/current/limits.html
_MAINTENANCE = "postgres"
_TABLES = sa.text(
    "SELECT format('%I.%I', n.nspname, c.relname), c.oid FROM pg_class c JOIN pg_namespace n"
    " ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%'"
    " AND n.nspname <> 'information_schema' ORDER BY 1"
)
_TIMES = sa.text(
    "SELECT attname FROM pg_attribute WHERE attrelid = :table AND attnum > 0 AND NOT attisdropped"
    " AND atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype) ORDER BY attnum"
)


class PostgresDatabase:
    """A database of a server.

    Parameters
    ----------
    url : str
    """

    kind = "postgresql"

    def __init__(self, url: str) -> None:
        self.url = url
        self._parsed = parse_url(url)
        self._database = str(self._parsed.database)

    @property
    def name(self) -> str:
        """For people; without the password."""
        return self._parsed.set(drivername="postgresql").render_as_string()

    def exists(self) -> bool:
        with self._maintaining() as connection:
            return self._is_there(connection, self._database)

    def sibling(self, suffix: str) -> PostgresDatabase:
        """The database of this server whose name ends with the suffix."""
        ending = f"_{suffix.lower()}"
        name = self._database[: _LONGEST_NAME - len(ending)] + ending
        return PostgresDatabase(self._parsed.set(database=name).render_as_string(hide_password=False))

    def dump(self, file: Path) -> tuple[TableContent, ...]:
        """Write all of it, as it is at one instant, to the file; what it held at that instant.

        Raises
        ------
        ConfigurationError
            If `pg_dump` is not installed.
        Unreachable
            If the server does not answer.
        Rejected
            If `pg_dump` says no, such as on a full disk.
        """
        program = _program("pg_dump")
        with _disposed(connect(self.url)) as engine, engine.connect() as plain:
            connection = plain.execution_options(isolation_level="REPEATABLE READ")
            snapshot = str(connection.scalar(sa.text("SELECT pg_export_snapshot()")))
            self._run(
                program,
                *("--format=custom", "--no-owner", "--no-privileges", "--lock-wait-timeout=60s"),
                *(f"--snapshot={snapshot}", f"--file={file}"),
            )
            return _contents(connection)

    def load(self, file: Path) -> None:
        """Make this database of a dump; a killed attempt leaves an empty one, which is made anew.

        Raises
        ------
        Refused
            If there is one that holds something.
        """
        program = _program("pg_restore")
        with self._maintaining() as connection:
            if self._is_there(connection, self._database):
                if self.tables():
                    raise Refused(f"expected no database {self.name}, was one")
                connection.execute(sa.text(f"DROP DATABASE {_quoted(self._database)}"))
            connection.execute(sa.text(f"CREATE DATABASE {_quoted(self._database)}"))
        self._run(
            program, "--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges", str(file)
        )

    def tables(self) -> tuple[TableContent, ...]:
        """What every table holds, of one instant."""
        with _disposed(connect(self.url)) as engine, engine.connect() as plain:
            return _contents(plain.execution_options(isolation_level="REPEATABLE READ"))

    def in_use(self) -> str | None:
        """Who is connected to it; None where nobody is."""
        query = sa.text(
            "SELECT count(*), min(application_name) FROM pg_stat_activity"
            " WHERE datname = :name AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        with self._maintaining() as connection:
            count, who = connection.execute(query, {"name": self._database}).one()
        return f"{count} clients are connected to {self.name}, such as {who!r}" if count else None

    def replace_with(self, other: PostgresDatabase, aside: PostgresDatabase) -> None:
        """Move this database aside, and give its name to the other; goes on where it was killed."""
        with self._maintaining() as connection:
            if not self._is_there(connection, other._database):
                return
            if self._is_there(connection, self._database):
                _rename(connection, self._database, aside._database)
            _rename(connection, other._database, self._database)

    def drop(self) -> None:
        with self._maintaining() as connection:
            connection.execute(sa.text(f"DROP DATABASE IF EXISTS {_quoted(self._database)}"))

    @contextlib.contextmanager
    def _maintaining(self) -> Iterator[Connection]:
        """A connection to the server's own database: one that is in use is neither dropped nor renamed."""
        url = self._parsed.set(database=_MAINTENANCE).render_as_string(hide_password=False)
        with _disposed(connect(url)) as engine, engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    def _is_there(self, connection: Connection, name: str) -> bool:
        query = sa.text("SELECT count(*) FROM pg_database WHERE datname = :name")
        return bool(connection.scalar(query, {"name": name}))

    def _run(self, program: str, *options: str) -> None:
        url = self._parsed
        # By the environment: what is on a command line is for everybody on the machine to read.
        given = {
            "PGHOST": url.host,
            "PGPORT": None if url.port is None else str(url.port),
            "PGUSER": url.username,
            "PGPASSWORD": None if url.password is None else str(url.password),
            "PGCONNECT_TIMEOUT": "10",
            **{f"PG{name.upper()}": str(value) for name, value in url.query.items()},
        }
        done = subprocess.run(
            [program, *options, "--no-password", f"--dbname={self._database}"],
            env={**os.environ, **{name: value for name, value in given.items() if value is not None}},
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_SECONDS,
        )
        if done.returncode:
            said = " ".join(done.stderr.split())[:500]
            line = f"cannot run {Path(program).name} on {self.name}: {said}"
            raise Unreachable(line) if "connection to server" in said else Rejected(line)


def _contents(connection: Connection) -> tuple[TableContent, ...]:
    connection.execute(sa.text("SET LOCAL timezone = 'UTC'"))
    connection.execute(sa.text("SET LOCAL search_path = ''"))  # so that types are named in one way
    found = []
    for name, oid in connection.execute(_TABLES).all():
        query = sa.text(f"SELECT t::text FROM {name} t")  # noqa: S608 - quoted by format()
        with connection.execute(query.execution_options(stream_results=True, yield_per=1000)) as rows:
            count, digest = digest_of(row[0].encode() for row in rows)
        newest = {}
        for (column,) in connection.execute(_TIMES, {"table": oid}).all():
            latest = connection.scalar(sa.text(f"SELECT max({_quoted(column)}) FROM {name}"))  # noqa: S608
            if isinstance(latest, datetime):
                utc = latest.replace(tzinfo=UTC) if latest.tzinfo is None else latest.astimezone(UTC)
                newest[column] = utc.isoformat()
        found.append(TableContent(name.removeprefix("public."), count, newest, digest))
    return tuple(found)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ConfigurationError(
            f"expected the program {name}, was none: install PostgreSQL's client, as new as the server"
        )
    return found


def _rename(connection: Connection, name: str, to: str) -> None:
    try:
        connection.execute(sa.text(f"ALTER DATABASE {_quoted(name)} RENAME TO {_quoted(to)}"))
    except Unreachable as error:  # how the driver tells of a database that is in use
        raise Refused(f"cannot rename database {name} to {to}: {error}: stop what uses it") from error


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextlib.contextmanager
def _disposed(engine: Engine) -> Iterator[Engine]:
    try:
        yield engine
    finally:
        engine.dispose()
