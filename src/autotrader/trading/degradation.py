"""What the trader does while something that it needs is away: the table, applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from autotrader.domain.thresholds import DEGRADATION, Degradation
from autotrader.domain.trading import Cause, TradingState
from autotrader.ports.events import Event
from autotrader.ports.trading import AccountState, Restriction
from autotrader.trading.restrictions import lift, restrict

_DOES = {TradingState.ACTIVE: "carry on"}


def degrade(
    outages: Mapping[Cause, timedelta], table: Sequence[Degradation] = DEGRADATION
) -> tuple[Degradation, ...]:
    """The row that holds for each part that is away, in the order of the table.

    Parameters
    ----------
    outages : Mapping
        How long each part has been away; what is well is not in it.
    """
    holding: dict[Cause, Degradation] = {}
    for row in table:
        age = outages.get(row.cause)
        if age is not None and age >= row.after:
            # Rows of a cause are ordered by time, as a test keeps them: the last one holds.
            holding[row.cause] = row
    return tuple(holding.values())


def apply_outages(
    state: AccountState, outages: Mapping[Cause, timedelta], *, now: datetime, actor: str
) -> tuple[AccountState, tuple[Event, ...]]:
    """Restrict the account as the table demands, and lift what it demands no more.

    While a part is away its restriction never becomes milder.

    Parameters
    ----------
    now : datetime
        Wall time.
    """
    rows = {row.cause: row for row in degrade(outages)}
    events: tuple[Event, ...] = ()
    for cause in dict.fromkeys(row.cause for row in DEGRADATION):
        row = rows.get(cause)
        told: tuple[Event, ...] = ()
        if cause not in outages:
            state, told = lift(state, cause, reason=f"{cause} is well again", actor=actor, at=now)
        elif row is not None and row.state is not TradingState.ACTIVE:
            away = f"{outages[cause].total_seconds():.0f} s"
            reason = f"{cause} away for {away}: {row.why}; ends {row.ends}"
            state, told = restrict(state, Restriction(cause, row.state, reason, now, actor))
        events += told
    return state, events


def degradation_table() -> str:
    """The table for people, in Markdown."""
    lines = ["| away | after | the trader | alert | why | ends |", "|---|---|---|---|---|---|"]
    for row in DEGRADATION:
        after = "at once" if not row.after else f"{row.after.total_seconds():.0f} s"
        does = _DOES.get(row.state, row.state.value.upper())
        alert = f"{row.alert} ({row.severity})" if row.alert else "none yet"
        lines.append(f"| {row.cause} | {after} | {does} | {alert} | {row.why} | {row.ends} |")
    return "\n".join(lines) + "\n"
