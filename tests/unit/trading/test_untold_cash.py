from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.positions import Holdings
from autotrader.domain.trading import DiscrepancyKind, RunStatus
from autotrader.ports.trading import AccountState, Discrepancy
from autotrader.trading.reconciliation import Comparison
from autotrader.trading.untold_cash import take_untold

NOW = datetime(2024, 3, 1, 15, tzinfo=UTC)
EQUITY = Decimal(100_000)
STATE = AccountState(
    "main", "s", "ibkr", RunStatus.RUNNING, NOW, NOW, "me", "live", "USD", EQUITY, EQUITY, EQUITY, EQUITY
)
HOLDINGS = Holdings("main", {"USD": EQUITY})


def moved(amount: str, symbol: str = "USD") -> Discrepancy:
    theirs = EQUITY + Decimal(amount)
    kind = DiscrepancyKind.QUANTITY_MISMATCH
    return Discrepancy(
        kind, InstrumentId(Venue.IBKR, symbol), EQUITY, theirs, abs(Decimal(amount)), False, "cash"
    )


def taken(*found: Discrepancy, state: AccountState = STATE, venue: Venue = Venue.IBKR, unsure: str = ""):  # type: ignore[no-untyped-def]
    comparison = Comparison(found, (unsure,) if unsure else ())
    return take_untold(
        comparison, HOLDINGS, state, venue=venue, at=NOW, most=Decimal(100), now=NOW, actor="test"
    )


def test_what_a_day_brings_is_added_up_whichever_way_it_went() -> None:
    holdings, state, (event,) = taken(moved("60"))
    assert holdings.cash == {"USD": Decimal(100_060)}
    assert "+60 USD" in event.message
    assert taken(moved("-41"), state=state) is None
    assert taken(moved("-40"), state=state) is not None
    tomorrow = replace(state, memory={"untold_cash": {"day": "2024-02-29", "total": "99"}})
    assert taken(moved("-41"), state=tomorrow) is not None


@pytest.mark.parametrize("venue", [Venue.BINANCE, Venue.OANDA])
def test_a_venue_that_tells_of_its_bookings_is_not_believed_without_them(venue: Venue) -> None:
    assert taken(moved("1"), venue=venue) is None


def test_a_position_that_differs_too_or_an_unsure_answer_leaves_all_as_it_is() -> None:
    assert taken(moved("1"), moved("1", "AAPL")) is None
    assert taken(moved("1"), unsure="an order in flight") is None


def test_soon_after_a_fill_the_venues_cash_may_be_old() -> None:
    assert taken(moved("1"), state=replace(STATE, fills_since=NOW - timedelta(minutes=4))) is None
    assert taken(moved("1"), state=replace(STATE, fills_since=NOW - timedelta(minutes=6))) is not None
