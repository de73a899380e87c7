"""What every store of holds does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autotrader.db.engine import open_database
from autotrader.db.holds import SqlHolds
from autotrader.domain.errors import NotFound
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.ports.holds import Hold, Holds
from tests.fakes.holds import InMemoryHolds
from tests.services import fresh_database

AT = datetime(2024, 3, 2, tzinfo=UTC)
HOLD = Hold(
    id="2024-03-01/binance:BTCUSDT",
    instrument=InstrumentId(Venue.BINANCE, "BTCUSDT"),
    start=datetime(2024, 3, 1, tzinfo=UTC),
    end=datetime(2024, 3, 2, tzinfo=UTC),
    reason="the venue restated the day",
    actor="ops@desk",
    placed_at=AT,
)
EVERYTHING = replace(HOLD, id="2024-03-01/all", instrument=None, placed_at=AT + timedelta(hours=1))


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def holds(request: pytest.FixtureRequest, tmp_path: Path) -> Holds:
    if request.param == "memory":
        return InMemoryHolds()
    return SqlHolds(open_database(fresh_database(request.param, tmp_path)))


def test_a_hold_comes_back_as_it_was_placed(holds: Holds) -> None:
    assert isinstance(holds, Holds)
    assert holds.place(EVERYTHING)
    assert holds.place(HOLD)
    assert holds.in_force() == holds.all() == [HOLD, EVERYTHING]


def test_a_hold_is_placed_once(holds: Holds) -> None:
    assert holds.place(HOLD)
    assert not holds.place(replace(HOLD, reason="again"))
    assert holds.all() == [HOLD]


def test_a_released_hold_is_kept_but_not_in_force(holds: Holds) -> None:
    holds.place(HOLD)
    assert holds.release(HOLD.id, actor="ops@desk", at=AT + timedelta(days=1))
    assert holds.in_force() == []
    assert holds.all() == [replace(HOLD, released_at=AT + timedelta(days=1))]


def test_a_hold_is_released_once_and_keeps_the_first_time(holds: Holds) -> None:
    holds.place(HOLD)
    holds.release(HOLD.id, actor="ops@desk", at=AT)
    assert not holds.release(HOLD.id, actor="ops@desk", at=AT + timedelta(days=1))
    assert holds.all()[0].released_at == AT


def test_a_released_hold_can_be_placed_again(holds: Holds) -> None:
    holds.place(HOLD)
    holds.release(HOLD.id, actor="ops@desk", at=AT)
    again = replace(HOLD, placed_at=AT + timedelta(days=2), reason="bad after all")
    assert holds.place(again)
    assert holds.in_force() == [again]


def test_releasing_an_unknown_hold_says_so(holds: Holds) -> None:
    with pytest.raises(NotFound, match="'nothing'"):
        holds.release("nothing", actor="ops@desk", at=AT)
