"""Whole databases, as files and back: SQLite by its backup API, PostgreSQL by its own programs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from autotrader.db.engine import parse_url

_MODULUS = 1 << 256


@dataclass(frozen=True, slots=True)
class TableContent:
    """What a table holds.

    Attributes
    ----------
    newest : Mapping[str, str]
        The latest instant of each column of times that holds one; ISO 8601, UTC.
    digest : str
        Of its rows, whatever their order: the SHA-256 of each, added up modulo 2**256. Against
        accidents; a dump is kept from forgery by the digest of its file.
    """

    name: str
    rows: int
    newest: Mapping[str, str]
    digest: str


class Database(Protocol):
    """A whole database, whether it is there or not.

    Attributes
    ----------
    kind : str
        `sqlite` or `postgresql`.
    url : str
    """

    kind: str
    url: str

    @property
    def name(self) -> str:
        """For people; without a password."""
        ...

    def exists(self) -> bool: ...

    def sibling(self, suffix: str) -> Self:
        """The database beside this one whose name ends with the suffix."""
        ...

    def dump(self, file: Path) -> tuple[TableContent, ...]:
        """Write all of it, as it is at one instant, to the file, while others write it; what it held."""
        ...

    def load(self, file: Path) -> None:
        """Make this database of a dump, whole or not at all; Refused if there is one that holds something."""
        ...

    def tables(self) -> tuple[TableContent, ...]:
        """What every table holds, of one instant."""
        ...

    def in_use(self) -> str | None:
        """Who uses it, as far as can be seen; None where nobody does."""
        ...

    def replace_with(self, other: Self, aside: Self) -> None:
        """Move this database aside, and give its name to the other; goes on where it was killed."""
        ...

    def drop(self) -> None:
        """Delete it; fine if it is not there."""
        ...


def database_of(url: str) -> Database:
    """The database that a URL names, whether it is there or not.

    Raises
    ------
    ConfigurationError
        If the URL is of neither kind.
    """
    if parse_url(url).get_backend_name() == "sqlite":
        from autotrader.db.sqlite_dump import SqliteDatabase

        return SqliteDatabase(url)
    from autotrader.db.postgres_dump import PostgresDatabase

    return PostgresDatabase(url)


def digest_of(rows: Iterable[bytes]) -> tuple[int, str]:
    """Count of the rows, and their digest."""
    count = total = 0
    for row in rows:
        count += 1
        total += int.from_bytes(hashlib.sha256(row).digest(), "big")
    return count, f"{total % _MODULUS:064x}"


def differences(expected: Iterable[TableContent], found: Iterable[TableContent]) -> list[str]:
    """What is not as it was, a line each; empty where both hold the same rows."""
    before = {table.name: table for table in expected}
    after = {table.name: table for table in found}
    lines = [f"table {name}: expected, was none" for name in sorted(before.keys() - after.keys())]
    lines += [f"table {name}: not expected" for name in sorted(after.keys() - before.keys())]
    for name in sorted(before.keys() & after.keys()):
        if before[name].rows != after[name].rows:
            lines.append(f"table {name}: expected {before[name].rows} rows, was {after[name].rows}")
        elif before[name].digest != after[name].digest:
            lines.append(f"table {name}: its {before[name].rows} rows are not the ones expected")
    return lines
