"""Why an account may not trade freely: put in force and lifted, each change told once."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from autotrader.domain.trading import Cause, TradingState
from autotrader.ports.events import Event, EventType
from autotrader.ports.trading import AccountState, Restriction


def restrict(state: AccountState, restriction: Restriction) -> tuple[AccountState, tuple[Event, ...]]:
    """Put a restriction in force, in place of another of its cause that is no harder.

    Returns the state as it was, and no event, where the cause holds the account back as hard
    already: a fault that lasts is told once.
    """
    standing = next((r for r in state.restrictions if r.cause is restriction.cause), None)
    if standing is not None and standing.state.rank >= restriction.state.rank:
        return state, ()
    others = tuple(r for r in state.restrictions if r.cause is not restriction.cause)
    new = replace(state, restrictions=(*others, restriction))
    return new, (_told(new, restriction.cause, restriction.reason, restriction.actor, restriction.since),)


def lift(
    state: AccountState, cause: Cause, *, reason: str, actor: str, at: datetime
) -> tuple[AccountState, tuple[Event, ...]]:
    """End the restriction of a cause; nothing happens where there is none."""
    left = tuple(r for r in state.restrictions if r.cause is not cause)
    if len(left) == len(state.restrictions):
        return state, ()
    new = replace(state, restrictions=left)
    return new, (_told(new, cause, reason, actor, at),)


def _told(state: AccountState, cause: Cause, reason: str, actor: str, at: datetime) -> Event:
    worst = state.state
    severity = {TradingState.ACTIVE: "info", TradingState.REDUCING: "warning"}.get(worst, "critical")
    return Event(
        key=f"risk-{state.account}-{cause.value}-{worst.value}-{at.isoformat()}",
        type=EventType.RISK,
        severity=severity,
        message=f"Account {state.account} is {worst.value.upper()}: {reason}",
        actor=actor,
        at=at,
        data={"cause": cause.value, "state": worst.value},
    )
