"""The account at the start of a process: as it was left, or as the venue has it at the very first."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from autotrader.domain.errors import ConfigurationError
from autotrader.domain.orders import ZERO
from autotrader.domain.trading import RecoveryKind, RunStatus
from autotrader.ports.broker import VenueAccount
from autotrader.ports.clock import WallClock
from autotrader.ports.trading import AccountState, Lease, TradingRecords
from autotrader.trading.book import Book

# Contract: a heartbeat older than this, of an account that says it is running, is a crash. One that
# is younger is a crash, too, once the lease is ours: its owner is gone and said nothing.
STALE_HEARTBEAT = timedelta(minutes=5)


_BEGUN_AT = "begun_at"


def begun_at(state: AccountState) -> datetime | None:
    """By the venue's clock, when its cash was taken as what the account begins with.

    What was traded until then is in that cash. None of accounts that began before this was kept.
    """
    known = state.memory.get(_BEGUN_AT)
    return datetime.fromisoformat(known) if isinstance(known, str) else None


def opened(
    records: TradingRecords,
    lease: Lease,
    book: Book,
    account: VenueAccount,
    *,
    strategy_id: str,
    venue: str,
    source: str,
    clock: WallClock,
) -> tuple[AccountState, RecoveryKind, str]:
    """The state to go on with, what kind of start this is, and why.

    At an account's very first start the venue's cash is taken as what it begins with; positions
    that are there already are not: reconciliation tells of them.

    Raises
    ------
    ConfigurationError
        If the account is another strategy's or venue's.
    """
    now, base = clock.now(), book.money.base
    state = records.state(lease.account)
    if state is None:
        book.set_cash(account)
        equity = book.cash()
        first = AccountState(
            account=lease.account,
            strategy_id=strategy_id,
            venue=venue,
            status=RunStatus.RUNNING,
            heartbeat_at=now,
            started_at=now,
            owner=lease.owner,
            source=source,
            base_currency=base,
            initial_equity=equity,
            peak_equity=equity,
            day_start_equity=equity,
            equity=equity,
            cash=dict(book.holdings.cash),
            memory={_BEGUN_AT: account.at.isoformat()},
        )
        if equity <= ZERO:
            raise ConfigurationError(
                f"expected cash in account {lease.account} at {venue}, was {dict(account.cash)}: fund it"
            )
        return first, RecoveryKind.STARTUP, "first start of the account"
    for name, was, wanted in (
        ("strategy", state.strategy_id, strategy_id),
        ("venue", state.venue, venue),
        ("base currency", state.base_currency, base),
        ("source of bars", state.source, source),
    ):
        if was != wanted:
            raise ConfigurationError(
                f"expected account {lease.account} with {name} {was}, was {wanted}: name another account"
            )
    going_on = replace(state, status=RunStatus.RUNNING, heartbeat_at=now, started_at=now, owner=lease.owner)
    if state.status is RunStatus.STOPPED:
        return (
            going_on,
            RecoveryKind.STARTUP,
            f"stopped in order at {state.heartbeat_at:%Y-%m-%d %H:%M:%S} UTC",
        )
    age = now - state.heartbeat_at
    sure = "" if age > STALE_HEARTBEAT else ", and its owner is gone"
    return (
        going_on,
        RecoveryKind.CRASH,
        f"running by its own word, last heard {age.total_seconds():.0f} s ago{sure}",
    )
