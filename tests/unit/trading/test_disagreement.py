from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from autotrader.domain.errors import Refused
from autotrader.domain.trading import Cause, ControlKind, DiscrepancyKind, TradingState
from autotrader.ports.events import Event, EventType
from autotrader.ports.trading import AccountState, Discrepancy
from autotrader.trading.disagreement import acknowledge, fingerprint, settle
from autotrader.trading.reconciliation import Comparison
from tests.unit.trading.account import BTC, ETH, WALL, D, a_control, a_restriction, a_state

MINUTE = timedelta(minutes=1)


def a_discrepancy(theirs: str = "0.5", *, value: str = "25000", detail: str = "a position") -> Discrepancy:
    kind = DiscrepancyKind.EXTRA_AT_BROKER
    return Discrepancy(kind, BTC, D(0), D(theirs), D(value), D(value) > 100, detail)


SMALL = a_discrepancy("0.001", value="50")
MAJOR = a_discrepancy()


def settled(
    state: AccountState,
    *found: Discrepancy,
    unsure: tuple[str, ...] = (),
    attempt: int = 1,
    minutes: int = 0,
) -> tuple[AccountState, tuple[Event, ...]]:
    return settle(
        state,
        Comparison(found, unsure),
        attempt=attempt,
        now=WALL + minutes * MINUTE,
        actor="trader",
    )


def test_agreement_changes_nothing() -> None:
    state = a_state(restrictions=(a_restriction(Cause.OPERATOR),))
    assert settled(state) == (state, ())


def test_a_small_difference_reduces_until_it_is_gone() -> None:
    state, events = settled(a_state(), SMALL)
    assert state.state is TradingState.REDUCING
    assert [(e.type, e.severity) for e in events] == [
        (EventType.RISK, "warning"),
        (EventType.RECOVERY, "warning"),
    ]
    (told,) = json.loads(json.dumps(events[1].data["discrepancies"]))
    assert (told["kind"], told["theirs"]) == ("EXTRA_AT_BROKER", "0.001")
    state, events = settled(state, minutes=1)
    assert (state.state, len(events)) == (TradingState.ACTIVE, 1)


def test_a_major_difference_halts_until_a_person_acknowledges_it_even_if_it_goes_by_itself() -> None:
    state, events = settled(a_state(), SMALL, MAJOR)
    assert state.state is TradingState.HALTED
    assert {e.severity for e in events} == {"critical"}
    assert settled(state, minutes=1) == (state, ())
    state, (event,) = acknowledge(state, a_control(ControlKind.ACKNOWLEDGE), now=WALL)
    assert (state.state, event.type, event.actor) == (TradingState.REDUCING, EventType.AUDIT, "ada")
    state, _ = settled(state, minutes=2)
    assert state.state is TradingState.ACTIVE


def test_what_was_acknowledged_reduces_until_it_is_gone_and_does_not_halt_again() -> None:
    state, _ = settled(a_state(), MAJOR, SMALL)
    state, _ = acknowledge(state, a_control(ControlKind.ACKNOWLEDGE), now=WALL)
    for minute in (1, 2):
        state, _ = settled(state, replace(MAJOR, value=D(26_000)), minutes=minute)
        assert state.state is TradingState.REDUCING
    grown = a_discrepancy("0.6", value="30000", detail="a larger position")
    state, _ = settled(state, grown, minutes=3)
    assert state.state is TradingState.HALTED


def test_another_major_difference_halts_although_one_was_acknowledged() -> None:
    state, _ = settled(a_state(), MAJOR)
    state, _ = acknowledge(state, a_control(ControlKind.ACKNOWLEDGE), now=WALL)
    state, _ = settled(state, MAJOR, replace(MAJOR, instrument=ETH), minutes=1)
    assert state.state is TradingState.HALTED
    state, _ = acknowledge(state, a_control(ControlKind.ACKNOWLEDGE), now=WALL)
    state, _ = settled(state, MAJOR, replace(MAJOR, instrument=ETH), minutes=2)
    assert state.state is TradingState.REDUCING


def test_an_unsure_restriction_acknowledges_nothing() -> None:
    state, _ = settled(a_state(), unsure=("stale",), attempt=3)
    state, _ = settled(state, MAJOR, minutes=1)
    assert state.state is TradingState.HALTED


def test_a_loop_that_sees_the_same_again_tells_nothing_new() -> None:
    state, first = settled(a_state(), SMALL)
    keys = {event.key for event in first}
    for minute in range(1, 50):
        dearer = replace(SMALL, value=D(50 + minute % 40), theirs=D("0.0010"))
        state, again = settled(state, dearer, minutes=minute)
        assert {event.key for event in again} <= keys


def test_another_difference_is_told_and_one_that_comes_back_as_well() -> None:
    state, first = settled(a_state(), SMALL)
    state, other = settled(state, SMALL, replace(SMALL, instrument=ETH), minutes=1)
    assert {e.key for e in other}.isdisjoint(e.key for e in first)
    state, _ = settled(state, minutes=2)
    _, back = settled(state, SMALL, minutes=3)
    assert {e.key for e in back}.isdisjoint(e.key for e in first)


def test_a_difference_that_becomes_major_is_told_once_more() -> None:
    state, _ = settled(a_state(), SMALL)
    grown = replace(SMALL, value=D(101), is_major=True)
    state, told = settled(state, grown, minutes=1)
    assert state.state is TradingState.HALTED
    _, again = settled(state, grown, minutes=2)
    assert {e.key for e in again} <= {e.key for e in told}
    _, smaller = settled(state, SMALL, minutes=3)
    assert settled(state, SMALL, minutes=3)[0].state is TradingState.HALTED
    assert smaller


def test_an_answer_that_proves_nothing_changes_nothing_at_first_and_reduces_in_the_end() -> None:
    reducing = a_state(restrictions=(a_restriction(Cause.RECONCILIATION, TradingState.REDUCING),))
    for state in (a_state(), reducing):
        for attempt in (1, 2):
            assert settled(state, unsure=("stale",), attempt=attempt) == (state, ())
    state, _ = settled(a_state(), unsure=("stale",), attempt=3)
    assert state.state is TradingState.REDUCING
    assert settle(a_state(), Comparison((), ("stale",)), now=WALL, actor="trader")[0] == state
    assert "3 comparisons in a row could not be concluded: stale" in state.restrictions[0].reason
    state, _ = settled(state, minutes=1)
    assert state.state is TradingState.ACTIVE


def test_what_is_certain_counts_although_something_else_is_not() -> None:
    state, _ = settled(a_state(), SMALL, unsure=("an order",))
    assert state.state is TradingState.REDUCING


def test_the_fingerprint_is_of_the_difference_alone() -> None:
    same = replace(SMALL, value=D(99), theirs=D("0.00100"))
    assert fingerprint([SMALL, MAJOR]) == fingerprint([MAJOR, same])
    for other in (
        replace(SMALL, theirs=D("0.002")),
        replace(SMALL, instrument=ETH),
        replace(SMALL, is_major=True),
        replace(SMALL, detail="another order"),
    ):
        assert fingerprint([other]) != fingerprint([SMALL])


@pytest.mark.parametrize(("actor", "reason"), [("", "why"), ("ada", " ")])
def test_nobody_acknowledges_without_a_name_and_a_reason(actor: str, reason: str) -> None:
    state, _ = settled(a_state(), MAJOR)
    with pytest.raises(Refused, match="a name and a reason"):
        acknowledge(state, a_control(ControlKind.ACKNOWLEDGE, actor=actor, reason=reason), now=WALL)


def test_acknowledging_without_a_halt_changes_nothing() -> None:
    state, _ = settled(a_state(), SMALL)
    assert acknowledge(state, a_control(ControlKind.ACKNOWLEDGE), now=WALL) == (state, ())
