"""What every trial ledger does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autotrader.db.engine import open_database
from autotrader.db.trials import SqlTrialLedger
from autotrader.ports.trials import Trial, TrialLedger
from tests.fakes.trials import InMemoryTrialLedger
from tests.services import fresh_database

START = datetime(2024, 1, 1, tzinfo=UTC)
END = datetime(2024, 3, 1, tzinfo=UTC)
TRIAL = Trial(
    key="a",
    strategy_id="autotrader-strategy",
    window_start=START,
    window_end=END,
    family="lightgbm",
    params={"num_leaves": 31, "learning_rate": 0.1, "extra_trees": False},
    state="complete",
    sharpe=0.0123456789012345,
    at=END,
    data={"seconds": 1.5},
)


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> TrialLedger:
    if request.param == "memory":
        return InMemoryTrialLedger()
    return SqlTrialLedger(open_database(fresh_database(request.param, tmp_path)))


def test_a_trial_comes_back_as_it_was_recorded(ledger: TrialLedger) -> None:
    assert isinstance(ledger, TrialLedger)
    assert ledger.record(TRIAL)
    assert ledger.overlapping("autotrader-strategy", START, END) == [TRIAL]


def test_a_trial_counts_once_however_often_it_is_run(ledger: TrialLedger) -> None:
    assert ledger.record(TRIAL)
    assert not ledger.record(replace(TRIAL, sharpe=9.0))
    assert ledger.overlapping("autotrader-strategy", START, END) == [TRIAL]


def test_failed_and_pruned_trials_count_too(ledger: TrialLedger) -> None:
    for key, state in {"a": "complete", "b": "pruned", "c": "failed"}.items():
        ledger.record(replace(TRIAL, key=key, state=state, sharpe=0.1 if key == "a" else None))
    found = ledger.overlapping("autotrader-strategy", START, END)
    assert [t.state for t in found] == ["complete", "pruned", "failed"]
    assert [t.sharpe for t in found] == [0.1, None, None]


@pytest.mark.parametrize(
    ("start", "end", "overlaps"),
    [
        (START - timedelta(days=9), START, False),
        (START - timedelta(days=9), START + timedelta(microseconds=1), True),
        (START + timedelta(days=1), START + timedelta(days=2), True),
        (END - timedelta(microseconds=1), END + timedelta(days=9), True),
        (END, END + timedelta(days=9), False),
    ],
)
def test_windows_overlap_where_they_share_an_instant(
    ledger: TrialLedger, start: datetime, end: datetime, overlaps: bool
) -> None:
    ledger.record(TRIAL)
    assert bool(ledger.overlapping("autotrader-strategy", start, end)) is overlaps


def test_another_strategys_trials_do_not_count(ledger: TrialLedger) -> None:
    ledger.record(replace(TRIAL, strategy_id="fx"))
    assert ledger.overlapping("autotrader-strategy", START, END) == []
