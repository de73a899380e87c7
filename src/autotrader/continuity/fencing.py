"""A database that was brought back speaks of the past: nobody may trade by it before a person has looked."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from autotrader.db.trading_records import SqlTradingRecords
from autotrader.db.trading_tables import LEASES
from autotrader.domain.trading import ControlKind
from autotrader.ports.clock import WallClock
from autotrader.ports.trading import Control

# Above what the process that held the lease can have reached since: it is never given it again.
_TOKENS_SKIPPED = 1_000_000


def fence_accounts(engine: Engine, clock: WallClock, *, occasion: str, actor: str, reason: str) -> list[str]:
    """End every lease, and halt every account until a person resumes it; returns the accounts.

    The trader that takes an account over does what was asked before anything else, and reconciles
    with its broker: what happened since the copy was made, the broker tells.

    Parameters
    ----------
    occasion : str
        Names the restore or failover: once fenced for it, an account is not fenced again.
    """
    records = SqlTradingRecords(engine)
    accounts = [state.account for state in records.accounts()]
    for account in accounts:
        control_id = f"{occasion}-{account}"
        if records.control(control_id) is not None:
            continue
        with engine.begin() as connection:
            connection.execute(
                sa.update(LEASES)
                .where(LEASES.c.account == account)
                .values(token=LEASES.c.token + _TOKENS_SKIPPED, released=True)
            )
        records.ask(Control(control_id, account, ControlKind.HALT, actor, reason, clock.now()))
    return accounts
