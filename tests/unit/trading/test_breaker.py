from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from autotrader.config.settings import RiskSettings
from autotrader.domain.errors import Refused
from autotrader.domain.orders import Side
from autotrader.domain.positions import ClosedTrade
from autotrader.domain.trading import Cause, TradingState
from autotrader.ports.events import Event, EventType
from autotrader.ports.trading import AccountState
from autotrader.trading.breaker import BreakerRules, count_trades, end_expired, mark, resume
from tests.unit.trading.account import BTC, NOW, WALL, D, a_control, a_restriction, a_state

RULES = BreakerRules.of(RiskSettings(), "00:00 UTC")
MINUTE = timedelta(minutes=1)


def marked(state: AccountState, equity: str, minutes: float = 0) -> tuple[AccountState, tuple[Event, ...]]:
    at = NOW + minutes * MINUTE
    return mark(state, D(equity), market_time=at, rules=RULES, now=WALL + minutes * MINUTE, actor="trader")


def closed(*pnls: str) -> list[ClosedTrade]:
    return [
        ClosedTrade("main", BTC, Side.BUY, D(1), D(100), D(100), D(0), D(pnl), NOW, NOW + i * MINUTE)
        for i, pnl in enumerate(pnls)
    ]


def counted(state: AccountState, *pnls: str, minutes: float = 0) -> tuple[AccountState, tuple[Event, ...]]:
    at = NOW + minutes * MINUTE
    return count_trades(
        state, closed(*pnls), market_time=at, rules=RULES, now=WALL + minutes * MINUTE, actor="trader"
    )


def causes(state: AccountState) -> set[Cause]:
    return {restriction.cause for restriction in state.restrictions}


@pytest.mark.parametrize(
    ("equity", "trips"), [("95000.00", False), ("94999.99", True), ("94990.00", True), ("100000", False)]
)
def test_a_day_may_lose_five_percent_and_not_a_cent_more(equity: str, trips: bool) -> None:
    state, events = marked(a_state(), equity)
    assert (state.state is TradingState.HALTED) is trips
    assert len(events) == trips


def test_a_daily_loss_of_5_01_percent_halts_within_the_bar_and_says_so_once() -> None:
    state, events = marked(a_state(), "94990")
    (restriction,) = state.restrictions
    assert restriction.cause is Cause.DAILY_LOSS
    assert restriction.until is None
    assert (
        "lost 5,010.00, 5.0100% of the day's first equity 100,000.00; 5.00% is the limit"
        in restriction.reason
    )
    assert [(e.type, e.severity) for e in events] == [(EventType.RISK, "critical")]
    later, more = marked(state, "94980", 1)
    assert later.restrictions == state.restrictions
    assert more == ()


@pytest.mark.parametrize(("equity", "trips"), [("102000", False), ("101999.99", True), ("101988", True)])
def test_a_drawdown_may_be_fifteen_percent_of_the_peak_and_no_more(equity: str, trips: bool) -> None:
    state = a_state("105000", peak_equity=D(120_000), day=NOW.date())
    state, _ = marked(state, equity)
    assert causes(state) == ({Cause.DRAWDOWN} if trips else set())


def test_the_peak_only_rises() -> None:
    state, _ = marked(a_state(), "110000")
    state, _ = marked(state, "105000", 1)
    assert (state.peak_equity, state.equity) == (D(110_000), D(105_000))


def test_a_new_day_begins_with_the_equity_of_the_bar_before_it() -> None:
    state, _ = marked(a_state(), "97000")
    state, events = marked(state, "92150", 12 * 60)  # 5.00 % of 97,000, over midnight
    assert (state.day_start_equity, state.day) == (D(97_000), (NOW + 720 * MINUTE).date())
    assert events == ()
    state, _ = marked(state, "92149", 12 * 60 + 1)
    assert causes(state) == {Cause.DAILY_LOSS}


def test_a_new_day_lifts_no_halt() -> None:
    state, _ = marked(a_state(), "94000")
    state, _ = marked(state, "94000", 13 * 60)
    assert state.day_start_equity == D(94_000)
    assert causes(state) == {Cause.DAILY_LOSS}


def test_a_mark_from_before_the_boundary_does_not_turn_the_day_back() -> None:
    state, _ = marked(a_state(), "99000", 12 * 60)
    turned, _ = marked(state, "98000", 11 * 60)
    assert (turned.day, turned.day_start_equity) == (state.day, state.day_start_equity)


def test_with_nothing_left_both_limits_trip() -> None:
    state, _ = marked(a_state(), "-5")
    assert causes(state) == {Cause.DAILY_LOSS, Cause.DRAWDOWN}
    state, _ = marked(replace(state, restrictions=()), "-5", 24 * 60)
    assert causes(state) == {Cause.DAILY_LOSS, Cause.DRAWDOWN}


def test_three_losses_in_a_row_pause_and_five_halt() -> None:
    state, events = counted(a_state(), "-1", "-1")
    assert (state.state, events) == (TradingState.ACTIVE, ())
    state, events = counted(state, "-1")
    assert state.state is TradingState.REDUCING
    assert state.restrictions[0].until == NOW + timedelta(minutes=10)
    assert "3 losing trades in a row" in events[0].message
    state, events = counted(state, "-1", minutes=5)
    assert state.restrictions[0].until == NOW + timedelta(minutes=15)
    assert len(events) == 1
    state, events = counted(state, "-1", minutes=6)
    assert state.state is TradingState.HALTED
    assert state.restrictions[0].until == NOW + timedelta(minutes=36)
    assert [e.severity for e in events] == ["critical"]


def test_a_trade_without_loss_ends_the_row_and_not_the_pause() -> None:
    state, _ = counted(a_state(), "-1", "-1", "0", "-1", "-1")
    assert (state.consecutive_losses, state.restrictions) == (2, ())
    state, _ = counted(state, "-1", "5")
    assert state.consecutive_losses == 0
    assert state.state is TradingState.REDUCING


def test_a_new_row_during_a_halt_does_not_soften_it() -> None:
    state, _ = counted(a_state(), *["-1"] * 5)
    state, events = counted(state, "1", "-1", "-1", "-1", minutes=1)
    assert (state.state, events) == (TradingState.HALTED, ())
    assert state.restrictions[0].until == NOW + timedelta(minutes=30)


def test_a_pause_ends_by_market_time_and_a_halt_of_the_breaker_does_not() -> None:
    state, _ = counted(a_state(), *["-1"] * 3)
    state, _ = marked(state, "80000")
    late, events = end_expired(state, market_time=NOW + 10 * MINUTE, now=WALL, actor="trader")
    assert causes(late) == {Cause.DAILY_LOSS, Cause.DRAWDOWN}
    assert len(events) == 1
    early, events = end_expired(state, market_time=NOW + 9 * MINUTE, now=WALL, actor="trader")
    assert (early, events) == (state, ())


@pytest.mark.parametrize(("actor", "reason"), [("", "why"), ("ada", ""), ("  ", "why"), ("ada", " ")])
def test_nobody_resumes_without_approver_and_reason(actor: str, reason: str) -> None:
    state, _ = marked(a_state(), "94000")
    with pytest.raises(Refused, match="an approver and a reason"):
        resume(state, a_control(actor=actor, reason=reason), now=WALL)


def test_resuming_begins_anew_what_would_trip_again_at_once_and_nothing_else() -> None:
    state, _ = marked(a_state("90000", peak_equity=D(100_000), day=NOW.date()), "85400")
    assert causes(state) == {Cause.DAILY_LOSS}
    state, events = resume(state, a_control(), now=WALL)
    assert state.state is TradingState.ACTIVE
    assert (state.day_start_equity, state.peak_equity) == (D(85_400), D(100_000))
    (event,) = events
    assert (event.type, event.actor) == (EventType.AUDIT, "ada")
    assert event.data["day_start_equity"] == ["90000", "85400"]
    assert event.data["peak_equity"] == ["100000", "100000"]
    state, events = marked(state, "85400", 1)
    assert (state.restrictions, events) == ((), ())
    state, _ = marked(state, "84999", 2)
    assert causes(state) == {Cause.DRAWDOWN}
    assert resume(state, a_control(), now=WALL) == (state, ()), "it was asked for before this happened"
    state, _ = resume(state, a_control(asked_at=WALL + 3 * MINUTE), now=WALL)
    assert (state.peak_equity, state.day_start_equity) == (D(84_999), D(85_400))
    assert marked(state, "84999", 3)[0].restrictions == ()


def test_resuming_ends_what_a_person_or_losses_began_and_nothing_that_lasts() -> None:
    state = a_state(
        consecutive_losses=5,
        restrictions=(
            a_restriction(Cause.OPERATOR),
            a_restriction(Cause.LOSSES),
            a_restriction(Cause.RECONCILIATION),
            a_restriction(Cause.BROKER, TradingState.REDUCING),
        ),
    )
    state, (event,) = resume(state, a_control(), now=WALL)
    assert causes(state) == {Cause.RECONCILIATION, Cause.BROKER}
    assert state.consecutive_losses == 0
    assert "still halted: a test asked for it; a test asked for it" in event.message
    again, events = resume(state, a_control(), now=WALL)
    assert (again, events) == (state, ())


def test_the_same_control_gives_the_same_event() -> None:
    state, _ = marked(a_state(), "94000")
    first, second = (resume(state, a_control(), now=WALL + i * MINUTE)[1][0] for i in range(2))
    assert first.key == second.key


def test_the_rules_are_the_settings_to_the_digit() -> None:
    rules = BreakerRules.of(RiskSettings(max_daily_loss=0.07, pause_minutes=2.5), "17:00 America/New_York")
    assert rules.max_daily_loss == Decimal("0.07")
    assert rules.pause == timedelta(seconds=150)
