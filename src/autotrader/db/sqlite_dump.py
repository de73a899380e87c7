"""A SQLite database as a file, and back."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autotrader.db.dumps import TableContent, digest_of
from autotrader.db.engine import parse_url
from autotrader.domain.errors import BadData, DependencyError, NotFound, Refused, Rejected, Unreachable

_BUSY_SECONDS = 30.0
_PARTS = ("", "-wal", "-shm")
_TIMES = ("DATETIME", "TIMESTAMP")


class SqliteDatabase:
    """One file, and what SQLite keeps beside it.

    Parameters
    ----------
    url : str
    """

    kind = "sqlite"

    def __init__(self, url: str) -> None:
        self.url = url
        self.path = Path(str(parse_url(url).database)).resolve()

    @property
    def name(self) -> str:
        """For people."""
        return str(self.path)

    def exists(self) -> bool:
        return self.path.is_file()

    def sibling(self, suffix: str) -> SqliteDatabase:
        """The database beside this one whose name ends with the suffix."""
        return SqliteDatabase(f"sqlite:///{self.path.with_name(f'{self.path.name}.{suffix}')}")

    def dump(self, file: Path) -> tuple[TableContent, ...]:
        """Copy the database, as it is at one instant, while others write it; what the copy holds.

        Raises
        ------
        NotFound
            If there is none.
        BadData
            If it is damaged.
        Rejected
            If the disk is full.
        """
        if not self.exists():
            raise NotFound(f"expected a database at {self.path}, was none")
        for part in _PARTS:
            file.with_name(file.name + part).unlink(missing_ok=True)
        with (
            _trouble(f"copy {self.path}"),
            _opened(self.path, read_only=True) as source,
            _opened(file) as target,
        ):
            source.backup(target)
            # One file, without the log that the original keeps beside itself.
            target.execute("PRAGMA journal_mode = DELETE")
            _require_sound(target, self.path)
        return SqliteDatabase(f"sqlite:///{file}").tables()

    def load(self, file: Path) -> None:
        """Make this database of a dump; a killed attempt leaves none.

        Raises
        ------
        Refused
            If there is one.
        BadData
            If the file is no sound database.
        """
        if self.exists():
            raise Refused(f"expected no database at {self.path}, was one")
        partial = self.sibling("partial")
        partial.drop()
        with _trouble(f"copy {file} to {self.path}"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _opened(file, read_only=True) as source, _opened(partial.path) as target:
                source.backup(target)
                _require_sound(target, file)
            partial.path.replace(self.path)

    def tables(self) -> tuple[TableContent, ...]:
        """What every table holds, of one instant."""
        with _trouble(f"read {self.path}"), _opened(self.path, read_only=True) as connection:
            connection.execute("BEGIN")
            names = connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table'"
                " AND name NOT LIKE 'sqlite_%' ORDER BY name"
            ).fetchall()
            return tuple(_content(connection, name) for (name,) in names)

    def in_use(self) -> str | None:
        """Who writes it, as far as can be seen from outside; None where nobody does."""
        if not self.exists():
            return None
        try:
            with contextlib.closing(
                sqlite3.connect(self.path, timeout=1, isolation_level=None)
            ) as connection:
                connection.execute("BEGIN EXCLUSIVE")
                connection.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            return f"{self.path} is in use ({error})"
        except sqlite3.DatabaseError:  # damaged: a reason to restore it
            return None
        return None

    def replace_with(self, other: SqliteDatabase, aside: SqliteDatabase) -> None:
        """Move this database aside, and give its name to the other; goes on where it was killed."""
        with _trouble(f"replace {self.path}"):
            if other.exists():
                for part in reversed(_PARTS):  # the file itself last: its log must not be taken for another's
                    old = self.path.with_name(self.path.name + part)
                    if old.exists():
                        old.replace(aside.path.with_name(aside.path.name + part))
                other.path.replace(self.path)

    def drop(self) -> None:
        for part in _PARTS:
            self.path.with_name(self.path.name + part).unlink(missing_ok=True)


@contextlib.contextmanager
def _opened(path: Path, *, read_only: bool = False) -> Iterator[sqlite3.Connection]:
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    with contextlib.closing(
        sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
    ) as connection:
        yield connection


def _require_sound(connection: sqlite3.Connection, path: Path) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise BadData(f"expected a sound database at {path}, was damaged: {found}")


def _content(connection: sqlite3.Connection, table: str) -> TableContent:
    name = table.replace('"', '""')
    columns: list[tuple[Any, ...]] = connection.execute(f'PRAGMA table_info("{name}")').fetchall()
    rows = connection.execute(f'SELECT * FROM "{name}"')  # noqa: S608 - a name of its own schema, quoted
    count, digest = digest_of(repr(row).encode() for row in rows)
    newest = {}
    for column in (str(c[1]) for c in columns if str(c[2]).upper().startswith(_TIMES)):
        quoted = column.replace('"', '""')
        latest = connection.execute(f'SELECT max("{quoted}") FROM "{name}"').fetchone()[0]  # noqa: S608
        if latest is not None:
            newest[column] = datetime.fromisoformat(str(latest)).replace(tzinfo=UTC).isoformat()
    return TableContent(table, count, newest, digest)


@contextlib.contextmanager
def _trouble(doing: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise Rejected(f"cannot {doing}: the disk is full: free space, then run again") from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise Unreachable(f"cannot {doing}: {error}: try again") from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise BadData(f"cannot {doing}: it is damaged: {error}") from error
        raise DependencyError(f"cannot {doing}: {error}") from error
    except OSError as error:
        raise DependencyError(f"cannot {doing}: {error.strerror}") from error
