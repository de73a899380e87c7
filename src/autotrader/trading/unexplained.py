"""What the venue has beyond our books, for which nobody knows a reason: remembered until it is settled.

Our own position says how much an order may end; where the venue has less, the rest would open a position
there that nobody asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from autotrader.domain.errors import BadData
from autotrader.domain.instruments import InstrumentId, InstrumentRules
from autotrader.ports.events import Event, EventType
from autotrader.ports.trading import AccountState, Restriction
from autotrader.trading.exposures import RiskView
from autotrader.trading.reconciliation import Comparison

UNEXPLAINED = "unexplained"


def unexplained(state: AccountState) -> dict[InstrumentId, Decimal]:
    """Signed units by instrument, as remembered; raises BadData if that cannot be read."""
    known = state.memory.get(UNEXPLAINED, {})
    try:
        if not isinstance(known, Mapping):
            raise ValueError("not an object")
        return {InstrumentId.parse(name): Decimal(units) for name, units in known.items()}
    except (TypeError, ValueError, ArithmeticError) as error:
        raise BadData(f"expected unexplained units by instrument, was {known!r}: {error}") from None


def remember(state: AccountState, comparison: Comparison) -> AccountState:
    """The state that knows what this comparison found; one that is unsure takes nothing back."""
    found = dict(comparison.unexplained)
    if comparison.unsure:
        found = {**unexplained(state), **found}
    memory = {name: value for name, value in state.memory.items() if name != UNEXPLAINED}
    if found:
        memory[UNEXPLAINED] = {str(instrument): str(units) for instrument, units in sorted(found.items())}
    return replace(state, memory=memory)


def left_open(
    view: RiskView,
    rules: Mapping[InstrumentId, InstrumentRules],
    breaker: Restriction,
    *,
    account: str,
    now: datetime,
    actor: str,
) -> Iterator[Event]:
    """Tell of positions that the breaker does not end since the venue does not have them.

    The same event again, by its key, for as long as the breaker stays tripped.

    Parameters
    ----------
    breaker : Restriction
        With which it tripped.
    now : datetime
        Wall time.
    """
    for instrument, exposure in sorted(view.exposures.items()):
        rest, rule = exposure.position - exposure.certain, rules.get(instrument)
        if rule is None or abs(rest) < rule.lot:
            continue
        theirs = exposure.position + exposure.unexplained
        yield Event(
            key=f"discrepancies-{account}-{instrument}-{breaker.since.isoformat()}",
            type=EventType.RECOVERY,
            severity="critical",
            message=(
                f"Account {account}: the circuit breaker leaves {rest} of {instrument} open: the books have "
                f"{exposure.position}, the venue {theirs}; look at the venue, and reconcile"
            ),
            actor=actor,
            at=now,
            instrument=str(instrument),
            data={
                "account": account,
                "ours": str(exposure.position),
                "theirs": str(theirs),
                "left": str(rest),
            },
        )
