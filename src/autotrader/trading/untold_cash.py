"""Cash that comes and goes at a venue which does not say why: interest, dividends, fees for data.

Interactive Brokers books them without any message. Each would end in REDUCING until a person looks, and
a person could do no more than read the venue's statement. So a small difference in cash alone is taken
into the books as what it is, profit or loss, and told; all of a day together may not exceed what the
contract calls a minor difference. The other venues tell of every booking: there a difference stays one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal

from autotrader.domain.errors import BadData
from autotrader.domain.instruments import ASSET_CLASS_OF, AssetClass, Venue
from autotrader.domain.orders import ZERO
from autotrader.domain.positions import Holdings
from autotrader.domain.thresholds import RECONCILIATION
from autotrader.ports.events import Event, EventType
from autotrader.ports.trading import AccountState, Discrepancy
from autotrader.trading.reconciliation import Comparison

UNTOLD_CASH = "untold_cash"


@dataclass(frozen=True, slots=True)
class UntoldCash:
    """What was taken over on one day; base currency, whichever way the cash went."""

    day: date
    total: Decimal = ZERO

    @classmethod
    def of(cls, state: AccountState, day: date) -> UntoldCash:
        """What the account remembers of this day; raises BadData if it cannot be read."""
        known = state.memory.get(UNTOLD_CASH)
        if known is None:
            return cls(day)
        try:
            if not isinstance(known, Mapping):
                raise ValueError("not an object")
            remembered = cls(date.fromisoformat(known["day"]), Decimal(known["total"]))
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise BadData(f"expected a day and a total of untold cash, was {known!r}: {error}") from None
        return remembered if remembered.day == day else cls(day)

    def to_plain(self) -> dict[str, str]:
        return {"day": self.day.isoformat(), "total": str(self.total)}


def take_untold(
    comparison: Comparison,
    holdings: Holdings,
    state: AccountState,
    *,
    venue: Venue,
    at: datetime,
    most: Decimal,
    now: datetime,
    actor: str,
) -> tuple[Holdings, AccountState, tuple[Event, ...]] | None:
    """Holdings with the venue's cash, the state that remembers it, and the event; None where it stays a
    difference.

    Parameters
    ----------
    comparison : Comparison
        It must be certain, and of nothing but cash.
    venue : Venue
        One that tells of its bookings is never believed without them.
    at : datetime
        When the venue's account was so, by its clock: soon after a fill its cash may be older than
        it looks.
    most : Decimal
        Base currency, for all of a day.
    now : datetime
        Wall time.
    """
    found = comparison.discrepancies
    if ASSET_CLASS_OF[venue] is not AssetClass.EQUITY or not found or comparison.unsure:
        return None
    if any(d.instrument.symbol not in holdings.cash or d.instrument in holdings.positions for d in found):
        return None
    if state.fills_since is not None and at < state.fills_since + RECONCILIATION.cash_lag:
        return None
    before = UntoldCash.of(state, now.astimezone(UTC).date())
    total = before.total + sum((d.value for d in found), ZERO)
    if total > most:
        return None
    cash = {**holdings.cash, **{d.instrument.symbol: d.theirs for d in found}}
    remembered = replace(before, total=total)
    memory = {**state.memory, UNTOLD_CASH: remembered.to_plain()}
    return (
        replace(holdings, cash=cash),
        replace(state, memory=memory),
        (_told(state.account, venue, found, remembered, most, now=now, actor=actor),),
    )


def _told(
    account: str,
    venue: Venue,
    found: tuple[Discrepancy, ...],
    remembered: UntoldCash,
    most: Decimal,
    *,
    now: datetime,
    actor: str,
) -> Event:
    moved = ", ".join(f"{d.theirs - d.ours:+f} {d.instrument.symbol}" for d in found)
    return Event(
        key=f"untold-cash-{account}-{now.isoformat()}",
        type=EventType.RECOVERY,
        severity="warning",
        message=(
            f"Account {account}: {moved} at {venue} that no message tells of (interest, dividends or fees: "
            f"see its statement), taken into the books; {remembered.total:,.2f} of at most {most:,.2f} today"
        ),
        actor=actor,
        at=now,
        data={"day": remembered.day.isoformat(), "total": str(remembered.total)},
    )
