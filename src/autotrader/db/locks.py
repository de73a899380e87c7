"""Mutual exclusion between processes that share a database.

Both kinds of lock end with the process that holds them, however it dies, so that none needs a
time-out, a heartbeat or cleaning up: a lock on a file beside a SQLite database, an advisory lock of
the session in PostgreSQL.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import re
import time
from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from autotrader.db.engine import database_file
from autotrader.domain.errors import Unreachable

_POLL_SECONDS = 0.05

# A machine that is gone from the network says no farewell: its locks end after a minute, not two hours.
_TRY_LOCK = sa.text(
    "SELECT pg_try_advisory_lock(:key), set_config('tcp_keepalives_idle', '30', false),"
    " set_config('tcp_keepalives_interval', '10', false), set_config('tcp_keepalives_count', '3', false)"
)


class _Held(Unreachable):
    """Another process has the lock."""


@contextlib.contextmanager
def exclusive(engine: Engine, name: str, *, wait_seconds: float = 60.0) -> Iterator[None]:
    """Hold the lock of this name; at most one process and thread does.

    Parameters
    ----------
    engine : Engine
    name : str
        Words joined by `-`; becomes part of a file name.
    wait_seconds : float
        Patience while another holds it; 0 tries once.

    Raises
    ------
    Unreachable
        If it was not free in time.
    """
    hold = _file_lock if engine.dialect.name == "sqlite" else _session_lock
    with hold(engine, name, time.monotonic() + wait_seconds):
        yield


@contextlib.contextmanager
def claim(engine: Engine, name: str) -> Iterator[bool]:
    """Hold the lock of this name unless another process or thread does; yields whether we hold it."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(exclusive(engine, name, wait_seconds=0))
            is_ours = True
        except _Held:
            is_ours = False
        yield is_ours


def serialise(connection: Connection, name: str) -> None:
    """Let no other transaction that asks for this name run beside this one.

    SQLite has one writer at a time anyway; in PostgreSQL the lock ends with the transaction.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _key(name)})


@contextlib.contextmanager
def _file_lock(engine: Engine, name: str, deadline: float) -> Iterator[None]:
    database = database_file(engine)
    path = database.with_name(f"{database.name}.{re.sub(r'[^A-Za-z0-9_-]', '-', name)}.lock")
    try:
        file = path.open("a")
    except OSError as error:
        raise Unreachable(f"expected to lock {path}, was {error}") from error
    with file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                _wait(name, deadline)
        yield  # closing the file ends the lock


@contextlib.contextmanager
def _session_lock(engine: Engine, name: str, deadline: float) -> Iterator[None]:
    key = {"key": _key(name)}
    # Autocommit, or the session would sit idle in a transaction for as long as the lock is held.
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not connection.scalar(_TRY_LOCK, key):
            _wait(name, deadline)
        try:
            yield
        finally:
            connection.execute(sa.text("SELECT pg_advisory_unlock(:key)"), key)


def _wait(name: str, deadline: float) -> None:
    if time.monotonic() >= deadline:
        raise _Held(f"expected the lock {name!r} to be free, was held by another process: try again")
    time.sleep(_POLL_SECONDS)


def _key(name: str) -> int:
    digest = hashlib.sha256(f"autotrader:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
