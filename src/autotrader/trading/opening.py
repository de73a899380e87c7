"""The account at the start of a process: as it was left, or as the venue has it at the very first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from autotrader.domain.errors import BadData, ConfigurationError
from autotrader.domain.instruments import (
    ASSET_CLASS_OF,
    AssetClass,
    InstrumentId,
    InstrumentRules,
    Venue,
    balances,
)
from autotrader.domain.orders import ZERO
from autotrader.domain.positions import Holdings
from autotrader.domain.thresholds import RECONCILIATION
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


def amounts(cash: Mapping[str, Decimal]) -> str:
    """Cash for people: `12.5 XRP, 3 CAD`."""
    return ", ".join(f"{amount:f} {currency}" for currency, amount in sorted(cash.items()))


def traded_no_more(holdings: Holdings, rules: Mapping[InstrumentId, InstrumentRules]) -> list[InstrumentId]:
    """Instruments that are held and not among those that are traded."""
    return sorted(i for i, position in holdings.positions.items() if position.quantity and i not in rules)


def set_aside(book: Book, rules: Mapping[InstrumentId, InstrumentRules], *, venue: Venue) -> str:
    """What is held and counts for nothing here, for people; empty where there is nothing.

    Parameters
    ----------
    rules : Mapping
        The venue's, of `traded_no_more`; one that it does not know is absent.

    Raises
    ------
    ConfigurationError
        If more than dust of an instrument, or of a currency, is held that is not traded any more: its worth
        is not known, and nothing would end it.
    """
    holdings = book.holdings
    gone = traded_no_more(holdings, book.rules)
    dust = {i: rules[i] for i in gone if i in rules and abs(holdings.balance(i, rules[i])) < rules[i].lot}
    if more := [i for i in gone if i not in dust]:
        held = ", ".join(f"{holdings.position(i).quantity:f} of {i}" for i in more)
        raise ConfigurationError(
            f"expected every position of account {book.account} among the instruments that are traded, was "
            f"{held}: add it back (AUTOTRADER_{venue.upper()}__INSTRUMENTS), and take it out once the "
            "position has ended here, or was closed at the venue and adopted"
        )
    # A hundredth of a coin may be worth hundreds.
    least = ZERO if ASSET_CLASS_OF[venue] is AssetClass.CRYPTO else RECONCILIATION.cash_tolerance
    cash = {c: amount for c, amount in book.foreign_cash.items() if c not in balances(dust)}
    if cash := {c: amount for c, amount in cash.items() if abs(amount) > least}:
        raise ConfigurationError(
            f"expected instruments that tell what the cash of account {book.account} is worth in "
            f"{book.money.base}, was {amounts(cash)}: add one back that trades it"
        )
    left_out = [f"{holdings.position(i).quantity:f} of {i}" for i in dust]
    return ", ".join(left_out + ([amounts(book.foreign_cash)] if book.foreign_cash else []))


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
    that are there already are not: reconciliation tells of them. Currencies that none of the instruments
    tells the worth of are left out, and named in the reason.

    Raises
    ------
    ConfigurationError
        If the account is another strategy's or venue's, or no price tells yet what its cash is worth.
    """
    now, base = clock.now(), book.money.base
    state = records.state(lease.account)
    if state is None:
        left_out = amounts(book.set_cash(account))
        try:
            equity = book.cash()
        except BadData as error:
            raise ConfigurationError(
                f"{error}, at the first start of account {lease.account}: fetch bars of the instruments that "
                f"trade it against {base}, or change it into {base} at {venue}"
            ) from error
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
        without = f"; left out, since no instrument here tells its worth: {left_out}" if left_out else ""
        return first, RecoveryKind.STARTUP, f"first start of the account{without}"
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
