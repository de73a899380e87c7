"""The schema's revisions: which one a database has, which one this code knows, and the way there.

Migrations expand first and contract in a later release, so that the version before and the version
after run on one database. So a database that is ahead of this code is fine, and is left alone.
"""

from __future__ import annotations

import threading
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from autotrader.db.engine import reading
from autotrader.db.locks import exclusive

# Newest revision in `migrations/versions`; numbered, so that text order is age.
HEAD = "0007"
# Newest one that changes the trial ledger's table: the ledger is a database of its own, which only training
# opens, and may be behind the others for as long as nothing was changed in it.
LEDGER_HEAD = "0001"

_MIGRATIONS = Path(__file__).parent / "migrations"
# `alembic.op` is one for all threads: of two migrations at once each would work in the other's database.
_ALEMBIC = threading.Lock()


def revision(engine: Engine) -> str | None:
    """The revision of the database; None before the first migration."""
    with reading(engine) as connection:
        return _revision(connection)


def migrate(engine: Engine) -> None:
    """Bring the database to `HEAD` if it is behind."""
    if _is_current(revision(engine)):
        return
    with exclusive(engine, "migration"), engine.begin() as connection:
        # Asked again: another process may have done it while we waited.
        if not _is_current(_revision(connection)):
            with _ALEMBIC:
                _upgrade(connection)


def _is_current(found: str | None) -> bool:
    return found is not None and found >= HEAD


def _revision(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return found


def _upgrade(connection: Connection) -> None:
    # Imported late: it takes 0.3 s, and nearly every start finds nothing to do.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
