from __future__ import annotations

from datetime import timedelta
from itertools import groupby
from pathlib import Path

import pytest

from autotrader.domain.thresholds import DEGRADATION, Degradation
from autotrader.domain.trading import Cause, TradingState
from autotrader.trading.degradation import apply_outages, degradation_table, degrade
from tests.unit.trading.account import WALL, a_restriction, a_state

TICK = timedelta(microseconds=1)
NAMES = [f"{row.cause}-{row.after.total_seconds():.0f}" for row in DEGRADATION]


@pytest.mark.parametrize("row", DEGRADATION, ids=NAMES)
def test_a_row_holds_from_its_time_on(row: Degradation) -> None:
    assert degrade({row.cause: row.after}) == (row,)
    assert row not in degrade({row.cause: row.after - TICK})
    state, events = apply_outages(a_state(), {row.cause: row.after}, now=WALL, actor="trader")
    assert state.state is row.state
    assert len(events) == (row.state is not TradingState.ACTIVE)


@pytest.mark.parametrize("row", DEGRADATION, ids=NAMES)
def test_a_row_ends_when_its_part_is_well(row: Degradation) -> None:
    worse, _ = apply_outages(a_state(), {row.cause: row.after}, now=WALL, actor="trader")
    well, events = apply_outages(worse, {}, now=WALL, actor="trader")
    assert well.restrictions == ()
    assert len(events) == len(worse.restrictions)


@pytest.mark.parametrize(
    ("cause", "seconds", "state"),
    [
        (Cause.FEED, 119, TradingState.ACTIVE),
        (Cause.FEED, 120, TradingState.REDUCING),
        (Cause.FEED, 300, TradingState.HALTED),
        (Cause.PREDICTIONS, 179, TradingState.ACTIVE),
        (Cause.PREDICTIONS, 86_400, TradingState.REDUCING),
        (Cause.DATABASE, 0, TradingState.HALTED),
        (Cause.BROKER, 14, TradingState.ACTIVE),
        (Cause.BROKER, 15, TradingState.REDUCING),
        (Cause.BROKER, 60, TradingState.HALTED),
        (Cause.REGISTRY, 86_400, TradingState.ACTIVE),
    ],
)
def test_the_table_says_what_is_done_when(cause: Cause, seconds: int, state: TradingState) -> None:
    new, _ = apply_outages(a_state(), {cause: timedelta(seconds=seconds)}, now=WALL, actor="trader")
    assert new.state is state


def test_an_outage_that_lasts_is_told_once_and_again_when_it_gets_worse() -> None:
    state, told = apply_outages(a_state(), {Cause.FEED: timedelta(seconds=125)}, now=WALL, actor="trader")
    assert len(told) == 1
    state, told = apply_outages(state, {Cause.FEED: timedelta(seconds=180)}, now=WALL, actor="trader")
    assert told == ()
    state, told = apply_outages(state, {Cause.FEED: timedelta(seconds=301)}, now=WALL, actor="trader")
    assert (state.state, len(told)) == (TradingState.HALTED, 1)


def test_the_worst_outage_rules_and_others_stay_when_it_ends() -> None:
    both = {Cause.DATABASE: timedelta(0), Cause.BROKER: timedelta(seconds=20)}
    state, _ = apply_outages(a_state(), both, now=WALL, actor="trader")
    assert state.state is TradingState.HALTED
    state, _ = apply_outages(state, {Cause.BROKER: timedelta(seconds=21)}, now=WALL, actor="trader")
    assert state.state is TradingState.REDUCING


def test_an_end_of_outages_lifts_nothing_else() -> None:
    halted = a_state(restrictions=(a_restriction(Cause.DRAWDOWN), a_restriction(Cause.RECONCILIATION)))
    assert apply_outages(halted, {}, now=WALL, actor="trader") == (halted, ())


def test_every_part_of_the_contract_has_rows_that_get_worse_with_time() -> None:
    parts = [cause for cause, _ in groupby(DEGRADATION, key=lambda row: row.cause)]
    assert sorted(parts) == sorted(
        [Cause.FEED, Cause.PREDICTIONS, Cause.DATABASE, Cause.BROKER, Cause.REGISTRY]
    )
    for _, rows in groupby(DEGRADATION, key=lambda row: row.cause):
        found = [(row.after, row.state.rank) for row in rows]
        assert found == sorted(found)
    for row in DEGRADATION:
        assert row.state is not TradingState.HALTED or row.severity == "critical"


def test_every_part_raises_an_alert_in_the_end() -> None:
    for _, rows in groupby(DEGRADATION, key=lambda row: row.cause):
        assert list(rows)[-1].alert


def test_the_table_for_people_has_a_line_for_every_row() -> None:
    lines = degradation_table().splitlines()
    assert len(lines) == 2 + len(DEGRADATION)
    assert all(line.count("|") == 7 for line in lines)
    assert lines[2].startswith("| feed | 120 s | REDUCING | none yet |")
    assert "| registry | 120 s | carry on | ComponentUnhealthy (critical) |" in lines[-1]


def test_the_manual_shows_this_table() -> None:
    manual = (Path(__file__).resolve().parents[3] / "docs" / "user-manual.md").read_text()
    assert degradation_table() in manual
