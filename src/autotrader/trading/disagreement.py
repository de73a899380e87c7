"""What a comparison with the venue means for trading.

Nothing is traded away and nothing is taken over: a difference restricts the account until it is gone,
and a major one until a person has acknowledged it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from autotrader.command import to_plain
from autotrader.domain.errors import Refused
from autotrader.domain.thresholds import RECONCILIATION
from autotrader.domain.trading import Cause, TradingState
from autotrader.ports.events import Event, EventType
from autotrader.ports.trading import AccountState, Control, Discrepancy, Restriction
from autotrader.trading.reconciliation import Comparison
from autotrader.trading.restrictions import lift, restrict

_KEY_CHARACTERS = 16
_BETWEEN = "; "


def fingerprint(discrepancies: Iterable[Discrepancy]) -> str:
    """The same for the same differences, in any order and at any price."""
    texts = sorted(
        f"{d.kind}|{d.instrument}|{d.ours.normalize():f}|{d.theirs.normalize():f}|{d.is_major}|{d.detail}"
        for d in discrepancies
    )
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:_KEY_CHARACTERS]


def settle(
    state: AccountState,
    comparison: Comparison,
    *,
    attempt: int = RECONCILIATION.attempts,
    now: datetime,
    actor: str,
) -> tuple[AccountState, tuple[Event, ...]]:
    """Restrict the account as the comparison demands, or lift what it demands no more.

    Agreement lifts REDUCING; HALTED stays until it is acknowledged, even if the difference has gone.
    A major difference that was acknowledged demands REDUCING for as long as it stays what it was.
    Discrepancies that stay as they are give the same event again, by its key.

    Parameters
    ----------
    comparison : Comparison
    attempt : int
        How many comparisons in a row were unsure, this one included: up to the last but one of them
        nothing is changed for that. The default is for a start, where nothing is known yet: the
        first one counts.
    now : datetime
        Wall time.
    """
    found = comparison.discrepancies
    standing = next((r for r in state.restrictions if r.cause is Cause.RECONCILIATION), None)
    if not found:
        if comparison.agrees:
            if standing is None or standing.state is TradingState.HALTED:
                return state, ()
            reason = "the venue and we agree"
            return lift(state, Cause.RECONCILIATION, reason=reason, actor=actor, at=now)
        if attempt < RECONCILIATION.attempts:
            return state, ()
        reason = f"{attempt} comparisons in a row could not be concluded: {'; '.join(comparison.unsure)}"
        unknown = Restriction(Cause.RECONCILIATION, TradingState.REDUCING, reason, now, actor)
        return restrict(state, unknown)
    # It says what is major: a major difference under a restriction that does not halt was acknowledged.
    lines = {_line(d): d.is_major for d in found}
    known = standing.reason.split(_BETWEEN) if standing and standing.state is TradingState.REDUCING else ()
    halts = any(is_major and line not in known for line, is_major in lines.items())
    kind = TradingState.HALTED if halts else TradingState.REDUCING
    reason = _BETWEEN.join(lines)
    state, events = restrict(state, Restriction(Cause.RECONCILIATION, kind, reason, now, actor))
    since = next(r.since for r in state.restrictions if r.cause is Cause.RECONCILIATION)
    event = Event(
        # Once for as long as they last; if they come back later, once more.
        key=f"discrepancies-{state.account}-{fingerprint(found)}-{since.isoformat()}",
        type=EventType.RECOVERY,
        severity="critical" if halts else "warning",
        message=f"Account {state.account} and the venue disagree: {reason}",
        actor=actor,
        at=now,
        data={
            "account": state.account,
            "discrepancies": to_plain(found),
            "unsure": list(comparison.unsure),
        },
    )
    return state, (*events, event)


def _line(found: Discrepancy) -> str:
    return f"{'major ' if found.is_major else ''}{found.kind} {found.instrument}: {found.detail}"


def acknowledge(
    state: AccountState, control: Control, *, now: datetime
) -> tuple[AccountState, tuple[Event, ...]]:
    """Take note that a person knows of the major discrepancies: HALTED becomes REDUCING until they are gone.

    Raises
    ------
    Refused
        If it is not said who does so, or why.
    """
    if not control.actor.strip() or not control.reason.strip():
        raise Refused("expected a name and a reason to acknowledge discrepancies, was without: name both")
    standing = next((r for r in state.restrictions if r.cause is Cause.RECONCILIATION), None)
    if standing is None or standing.state is not TradingState.HALTED:
        return state, ()
    milder = replace(standing, state=TradingState.REDUCING)
    new = replace(state, restrictions=tuple(milder if r is standing else r for r in state.restrictions))
    event = Event(
        key=f"acknowledge-{state.account}-{control.id}",
        type=EventType.AUDIT,
        severity="warning",
        message=f"Account {state.account}: discrepancies acknowledged by {control.actor}: {control.reason}",
        actor=control.actor,
        at=now,
        data={"control": control.id, "state": new.state.value, "acknowledged": standing.reason},
    )
    return new, (event,)
