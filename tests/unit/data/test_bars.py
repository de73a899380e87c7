"""Bars with their history: restatements, as-of reads, holds, rollbacks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal, assert_series_equal

from autotrader.data.bars import BarStore, superseded_at
from autotrader.data.lake import Lake
from autotrader.data.schemas import BARS
from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.ports.holds import Hold
from tests.fakes.holds import InMemoryHolds
from tests.unit.data.frames import FETCHED, LATENCY, MINUTE, START, stored_bars

BTC = InstrumentId(Venue.BINANCE, "BTCUSDT")
ETH = InstrumentId(Venue.BINANCE, "ETHUSDT")
M1 = Interval.M1
LATER = FETCHED + timedelta(days=1)
SEEN = datetime(2024, 4, 10, tzinfo=UTC)
ROLLED_BACK = datetime(2024, 5, 1, tzinfo=UTC)
HOLD = Hold("h1", BTC, START + 10 * MINUTE, START + 20 * MINUTE, "bad tick", "ops", placed_at=ROLLED_BACK)


@pytest.fixture
def holds() -> InMemoryHolds:
    return InMemoryHolds()


@pytest.fixture
def bars(tmp_path: Path, holds: InMemoryHolds) -> BarStore:
    return BarStore(Lake(str(tmp_path / "lake")), holds)


def restated(minutes: int = 5, *, shift: float = 1.0, seen: datetime = SEEN) -> pl.DataFrame:
    return stored_bars(minutes=minutes, close_shift=shift, fetched_at=LATER, seen_at=seen)


def test_bars_are_stored_and_read_back(bars: BarStore) -> None:
    done = bars.upsert([stored_bars(), stored_bars("ETHUSDT")], commit_key="a")
    assert (done.inserted, done.unchanged, done.restated, done.held, done.late) == (120, 0, 0, 0, 0)
    assert done.version == bars.version()
    assert_frame_equal(bars.read([BTC], interval=M1), stored_bars())
    both = bars.read(
        [ETH, BTC], interval=M1, start=START + MINUTE, end=START + 3 * MINUTE, columns=["ts", "close"]
    )
    expected = pl.concat([stored_bars()[1:3], stored_bars("ETHUSDT")[1:3]]).select("ts", "close")
    assert_frame_equal(both, expected)


def test_a_store_without_bars_reads_empty(bars: BarStore) -> None:
    assert bars.version() is None
    assert bars.high_water_mark(BTC, M1) is None
    assert_frame_equal(bars.read([BTC], interval=M1), pl.DataFrame(schema=BARS))
    assert bars.read([BTC], interval=M1, as_of=SEEN, columns=["ts"]).is_empty()


def test_the_high_water_mark_is_the_newest_open_of_that_instrument(bars: BarStore) -> None:
    bars.upsert([stored_bars(minutes=10), stored_bars("ETHUSDT")], commit_key="a")
    assert bars.high_water_mark(BTC, M1) == START + 9 * MINUTE
    assert bars.high_water_mark(BTC, Interval.H1) is None


def test_equal_values_fetched_again_are_unchanged_and_keep_their_provenance(bars: BarStore) -> None:
    bars.upsert([stored_bars()], commit_key="a")
    done = bars.upsert([stored_bars(fetched_at=LATER, seen_at=SEEN)], commit_key="b")
    assert (done.unchanged, done.restated) == (60, 0)
    assert_frame_equal(bars.read([BTC], interval=M1), stored_bars())
    assert bars.history.count() == 0


def test_a_restatement_is_recorded_with_old_value_new_value_and_when_it_was_seen(bars: BarStore) -> None:
    bars.upsert([stored_bars()], commit_key="a")
    done = bars.upsert([restated()], commit_key="b")
    assert (done.restated, done.inserted, done.unchanged) == (5, 0, 0)
    past = bars.history.read()
    assert_frame_equal(past.select(list(BARS)), stored_bars(minutes=5))
    assert past["superseded_at"].to_list() == [SEEN] * 5
    assert past["superseded_by"].unique().to_list() == ["restatement"]
    now = bars.read([BTC], interval=M1)
    assert now["known_at"][:5].to_list() == [SEEN] * 5
    assert_series_equal(now["close"][:5], restated()["close"])
    assert_frame_equal(now[5:], stored_bars()[5:])


def test_a_restatement_must_say_when_it_was_seen(bars: BarStore) -> None:
    bars.upsert([stored_bars()], commit_key="a")
    with pytest.raises(BadData, match="expected seen_at"):
        bars.upsert([restated().drop("seen_at")], commit_key="b")
    done = bars.upsert([restated().drop("seen_at")], commit_key="b", seen_at=SEEN)
    assert done.restated == 5


def test_as_of_reads_show_each_bar_as_it_was_known(bars: BarStore) -> None:
    bars.upsert([stored_bars()], commit_key="a")
    bars.upsert([restated()], commit_key="b")
    bars.upsert(
        [restated(shift=2.0, seen=SEEN + MINUTE).with_columns(pl.col("ingested_at") + MINUTE)], commit_key="c"
    )
    closes = {
        moment: bars.read([BTC], interval=M1, as_of=moment)["close"][:5].to_list()
        for moment in (SEEN - MINUTE, SEEN, SEEN + MINUTE)
    }
    assert list(closes.values()) == [
        stored_bars(minutes=5)["close"].to_list(),
        restated(shift=1.0)["close"].to_list(),
        restated(shift=2.0)["close"].to_list(),
    ]


def test_a_bar_is_not_known_before_its_close_and_the_venues_latency(bars: BarStore) -> None:
    bars.upsert([stored_bars()], commit_key="a")
    closes = START + MINUTE
    assert bars.read([BTC], interval=M1, as_of=closes).is_empty()
    assert bars.read([BTC], interval=M1, as_of=closes + LATENCY).height == 1


def test_an_older_answer_that_arrives_late_does_not_supersede(bars: BarStore) -> None:
    bars.upsert([restated(60)], commit_key="b")
    late = stored_bars(seen_at=SEEN - MINUTE)
    for key in ("a", "again"):
        done = bars.upsert([late], commit_key=key)
        assert (done.late, done.restated, done.inserted) == (60, 0, 0)
    assert_frame_equal(bars.read([BTC], interval=M1), restated(60).drop("seen_at"))
    assert bars.history.count() == 60


def test_reading_superseded_answers_again_changes_nothing(bars: BarStore) -> None:
    first, second = stored_bars(seen_at=SEEN - MINUTE), restated(60)
    bars.upsert([first], commit_key="a")
    bars.upsert([second], commit_key="b")
    now, past = bars.read([BTC], interval=M1), bars.history.read()
    bars.upsert([first, second], commit_key="again")
    assert_frame_equal(bars.read([BTC], interval=M1), now)
    assert_frame_equal(bars.history.read(), past)


def test_the_same_load_again_is_done_once(bars: BarStore) -> None:
    bars.upsert([stored_bars()], commit_key="a")
    first = bars.upsert([restated()], commit_key="b")
    again = bars.upsert([restated()], commit_key="b")
    assert again.repeated
    assert (again.version, again.restated) == (first.version, 5)
    assert bars.history.count() == 5


# ------------------------------------------------------------------------------ holds


def test_rows_that_a_hold_covers_are_counted_and_not_stored(bars: BarStore, holds: InMemoryHolds) -> None:
    holds.place(HOLD)
    done = bars.upsert([stored_bars(), stored_bars("ETHUSDT")], commit_key="a")
    assert (done.inserted, done.held) == (110, 10)
    kept = bars.read([BTC], interval=M1)
    assert_frame_equal(kept, pl.concat([stored_bars()[:10], stored_bars()[20:]]))


def test_a_hold_without_instrument_covers_all(bars: BarStore, holds: InMemoryHolds) -> None:
    holds.place(Hold("h2", None, HOLD.start, HOLD.end, "?", "ops", placed_at=ROLLED_BACK))
    assert bars.upsert([stored_bars(), stored_bars("ETHUSDT")], commit_key="a").held == 20


class HoldsThatChange(InMemoryHolds):
    """A rollback that happens while a load is under way: between its plan and its commit."""

    def __init__(self, bars_of: list[BarStore]) -> None:
        super().__init__()
        self._bars_of = bars_of
        self._asked = 0

    def in_force(self) -> list[Hold]:
        self._asked += 1
        if self._asked == 2:
            self.place(HOLD)
            self._bars_of[0].take_back(HOLD, superseded_at=ROLLED_BACK)
        return list(super().in_force())


def test_a_rollback_during_a_load_is_not_undone_by_it(tmp_path: Path) -> None:
    stores: list[BarStore] = []
    bars = BarStore(Lake(str(tmp_path / "lake")), HoldsThatChange(stores))
    stores.append(BarStore(Lake(str(tmp_path / "lake")), InMemoryHolds()))
    done = bars.upsert([stored_bars()], commit_key="a")
    assert (done.inserted, done.held) == (50, 10)
    assert bars.read([BTC], interval=M1, start=HOLD.start, end=HOLD.end).is_empty()


# ------------------------------------------------------------------------------ rollback


def test_taking_back_moves_rows_to_history_and_putting_back_restores_them_exactly(
    bars: BarStore, holds: InMemoryHolds
) -> None:
    bars.upsert([stored_bars()], commit_key="a")
    bars.upsert([restated(15)], commit_key="b")
    before = bars.read([BTC], interval=M1)
    assert bars.covered(HOLD) == {BTC: 10}
    holds.place(HOLD)
    assert bars.take_back(HOLD, superseded_at=ROLLED_BACK) == 10
    assert bars.take_back(HOLD, superseded_at=ROLLED_BACK) == 0
    assert_frame_equal(bars.read([BTC], interval=M1), pl.concat([before[:10], before[20:]]))
    assert bars.history.read().filter(superseded_by="h1").height == 10
    assert bars.put_back(HOLD, dry_run=True) == 10
    assert bars.put_back(HOLD) == 10
    assert bars.put_back(HOLD) == 0
    assert_frame_equal(bars.read([BTC], interval=M1), before)


def test_putting_back_leaves_out_what_another_hold_forbids_and_that_hold_brings_it_back(
    bars: BarStore, holds: InMemoryHolds
) -> None:
    bars.upsert([stored_bars(), stored_bars("ETHUSDT")], commit_key="a")
    before = bars.read([BTC, ETH], interval=M1)
    of_all = replace(HOLD, id="h2", instrument=None, start=START + 15 * MINUTE, end=START + 30 * MINUTE)
    for hold, taken in ((HOLD, 10), (of_all, 10 + 15)):
        holds.place(hold)
        assert bars.take_back(hold, superseded_at=ROLLED_BACK) == taken
    assert bars.put_back(HOLD, dry_run=True) == 5
    assert bars.put_back(HOLD) == 5
    holds.release("h1", actor="ops", at=LATER)
    assert_frame_equal(bars.read([BTC], interval=M1), stored_bars().remove(_inside(of_all)))
    assert bars.put_back(HOLD) == 0
    assert bars.put_back(of_all) == 15 + 15
    assert_frame_equal(bars.read([BTC, ETH], interval=M1), before)


def _inside(hold: Hold) -> pl.Expr:
    return pl.col("ts").is_between(hold.start, hold.end, "left")


def test_a_hold_that_is_placed_while_rows_are_put_back_keeps_its_own(tmp_path: Path) -> None:
    stores = [BarStore(Lake(str(tmp_path)), InMemoryHolds())]
    stores[0].upsert([stored_bars()], commit_key="a")
    ends = replace(HOLD, id="h2", start=START + 5 * MINUTE, end=START + 15 * MINUTE)
    assert stores[0].take_back(ends, superseded_at=ROLLED_BACK) == 10
    bars = BarStore(Lake(str(tmp_path)), HoldsThatChange(stores))
    assert bars.put_back(ends) == 5
    assert_frame_equal(bars.read([BTC], interval=M1), stored_bars().remove(_inside(HOLD)))


def test_a_rerun_of_the_load_does_not_bring_held_rows_back(bars: BarStore, holds: InMemoryHolds) -> None:
    bars.upsert([stored_bars()], commit_key="a")
    holds.place(HOLD)
    bars.take_back(HOLD, superseded_at=ROLLED_BACK)
    for key in ("a", "b"):
        bars.upsert([stored_bars()], commit_key=key)
    assert bars.read([BTC], interval=M1).height == 50


def test_as_of_reads_see_rows_until_they_were_taken_back(bars: BarStore, holds: InMemoryHolds) -> None:
    bars.upsert([stored_bars()], commit_key="a")
    bars.upsert([restated(15)], commit_key="b")
    holds.place(HOLD)
    bars.take_back(HOLD, superseded_at=ROLLED_BACK)
    assert (
        bars.read([BTC], interval=M1, as_of=SEEN)["close"][:15].to_list() == restated(15)["close"].to_list()
    )
    assert bars.read([BTC], interval=M1, as_of=ROLLED_BACK - MINUTE).height == 60
    assert bars.read([BTC], interval=M1, as_of=ROLLED_BACK).height == 50
    bars.put_back(HOLD)
    assert bars.read([BTC], interval=M1, as_of=ROLLED_BACK).height == 60


class Clock:
    def __init__(self, *, is_replay: bool) -> None:
        self.is_replay = is_replay

    def now(self) -> datetime:
        return SEEN


def test_rows_stop_standing_when_the_hold_was_placed_or_in_replay_at_market_time() -> None:
    assert superseded_at(HOLD, Clock(is_replay=False)) == ROLLED_BACK
    assert superseded_at(HOLD, Clock(is_replay=True)) == SEEN
