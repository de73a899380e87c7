"""Leases on accounts: compare and set, each in one statement of a transaction.

A token is given out once and never goes back, so that whoever holds an older one is known by it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Dialect

from autotrader.db.rows import select_fields
from autotrader.db.statements import Executes, execute_one, prepare
from autotrader.db.trading_rules import refuse_lost
from autotrader.db.trading_tables import LEASES
from autotrader.ports.trading import Lease

_OF_ACCOUNT = LEASES.c.account == sa.bindparam("of_account")
_HELD = sa.and_(_OF_ACCOUNT, LEASES.c.token == sa.bindparam("held"), LEASES.c.released.is_(False))
NEWEST = select_fields(LEASES, Lease).where(_OF_ACCOUNT)
# Locked until the transaction ends: nobody is given a token between the check and the commit.
_FENCE = sa.select(LEASES.c.token).where(_HELD).with_for_update()
_PROLONG = sa.update(LEASES).where(_HELD)
_GIVE_BACK = sa.update(LEASES).where(_HELD).values(released=True)


def take(
    connection: Connection, account: str, owner: str, now: datetime, seconds: float, silent: Lease | None
) -> Lease | None:
    """Take the lease with the next token; None while the newest is somebody's, and not the silent one's."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    expires_at = now + timedelta(seconds=seconds)
    first = dialect.insert(LEASES).values(
        account=account, owner=owner, token=1, expires_at=expires_at, released=False
    )
    statement = first.on_conflict_do_update(
        index_elements=[LEASES.c.account],
        set_={
            "owner": owner,
            "token": LEASES.c.token + 1,
            "expires_at": expires_at,
            "released": False,
        },
        where=LEASES.c.released if silent is None else sa.or_(LEASES.c.released, _is(silent)),
    )
    token = connection.scalar(statement.returning(LEASES.c.token))
    return None if token is None else Lease(account, owner, token, expires_at)


def prolong(connection: Connection, lease: Lease, now: datetime, seconds: float) -> Lease:
    """The lease with a later end; Refused if it is lost."""
    expires_at = now + timedelta(seconds=seconds)
    if not connection.execute(_PROLONG, _parameters(lease) | {"expires_at": expires_at}).rowcount:
        raise refuse_lost(lease, newest(connection, lease.account))
    return Lease(lease.account, lease.owner, lease.token, expires_at)


def give_back(connection: Connection, lease: Lease, now: datetime) -> None:
    connection.execute(_GIVE_BACK, _parameters(lease) | {"expires_at": now})


def prepare_is_held(dialect: Dialect) -> None:
    """Do beforehand what the first `is_held` takes long for."""
    prepare(dialect, _FENCE, ())


def is_held(connection: Executes, lease: Lease) -> bool:
    """Whether the lease is not lost; it cannot be until the transaction ends."""
    return execute_one(connection, _FENCE, _parameters(lease)).fetchone() is not None


def newest(connection: Connection, account: str) -> Lease | None:
    found = connection.execute(NEWEST, {"of_account": account}).first()
    return None if found is None else Lease(*found)


def _is(lease: Lease) -> sa.ColumnElement[bool]:
    return sa.and_(LEASES.c.token == lease.token, LEASES.c.expires_at == lease.expires_at)


def _parameters(lease: Lease) -> dict[str, object]:
    return {"of_account": lease.account, "held": lease.token}
