"""What a change of the trader's records must keep to. Every home of them asks here."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime

from autotrader.domain.errors import Refused
from autotrader.ports.events import Event, EventType
from autotrader.ports.trading import AccountState, Change, Lease, Page


def require_own(lease: Lease, change: Change) -> None:
    """Raise ValueError if something in the change is of an account that the lease is not on."""
    rows = [change.state] if change.state else []
    for field in fields(Change):
        if field.name not in ("state", "events"):
            rows.extend(getattr(change, field.name))
    others = {row.account for row in rows} - {lease.account}
    if others:
        raise ValueError(f"expected a change of {lease.account}, was also of {', '.join(sorted(others))}")


def require_no_instrument(page: Page, *, of: str) -> None:
    """Raise ValueError if the page asks for an instrument in a listing of what has none."""
    if page.instrument is not None:
        raise ValueError(f"expected no instrument to list {of} by, was {page.instrument}: they have none")


def refuse_lost(lease: Lease, newest: Lease | None) -> Refused:
    """What is said to somebody whose lease is not the newest, or was released."""
    if newest is None:
        found = "none was ever taken"
    elif newest.token == lease.token:
        found = "it was released"
    else:
        found = f"token {newest.token} of {newest.owner} is the newest"
    return Refused(
        f"expected the lease on {lease.account} to be held, was token {lease.token} of {lease.owner}, "
        f"but {found}: trade no more, and start again"
    )


def refuse_revision(state: AccountState, stored: int | None) -> Refused:
    """What is said to somebody who has read an older state than the stored one."""
    found = "none" if stored is None else str(stored)
    return Refused(
        f"expected a state of {state.account} of the stored revision {found}, was {state.revision}: "
        "trade no more, and read it again"
    )


def event_of_strategy(
    strategy_id: str, enabled: bool, revision: int, *, actor: str, reason: str, at: datetime
) -> Event:
    """The event of the strategy's change of this number."""
    became = "enabled" if enabled else "disabled"
    return Event(
        key=f"strategy:{strategy_id}:{revision}",
        type=EventType.AUDIT,
        severity="info" if enabled else "warning",
        message=f"{strategy_id} was {became} by {actor}: {reason}",
        actor=actor,
        at=at,
        data={"strategy_id": strategy_id, "enabled": enabled, "reason": reason},
    )
