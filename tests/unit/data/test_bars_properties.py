"""Properties of loads, whatever their windows and order."""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.data.schemas import BAR_VALUES, KEY
from autotrader.domain.bars import Interval
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.ports.holds import Hold
from tests.fakes.holds import InMemoryHolds
from tests.unit.data.frames import FETCHED, LATENCY, MINUTE, START, stored_bars

BTC = InstrumentId(Venue.BINANCE, "BTCUSDT")
M1 = Interval.M1

quick = settings(max_examples=6)
windows = st.tuples(st.integers(0, 20), st.integers(1, 20))


def arrival(number: int) -> datetime:
    return FETCHED + timedelta(hours=number)


def load(number: int, window: tuple[int, int], *, shift: float) -> pl.DataFrame:
    """What the venue said at its `number`-th answer about a window."""
    begin, minutes = window
    return stored_bars(
        minutes=minutes,
        start=START + begin * MINUTE,
        close_shift=shift,
        fetched_at=arrival(number),
        seen_at=arrival(number),
    )


def stored(loads: list[pl.DataFrame]) -> BarStore:
    bars = BarStore(Lake(tempfile.mkdtemp()), InMemoryHolds())
    for number, rows in enumerate(loads):
        bars.upsert([rows], commit_key=f"{number}")
    return bars


@quick
@given(st.lists(windows, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_overlapping_loads_of_equal_bars_commute_and_repeat(
    asked: list[tuple[int, int]], random: object
) -> None:
    loads = [load(n, window, shift=0.0) for n, window in enumerate(asked)]
    shuffled = loads * 2
    random.shuffle(shuffled)
    found = stored(shuffled).read([BTC], interval=M1).select(*KEY, *BAR_VALUES, "known_at")
    expected = pl.concat(loads).unique("ts").sort("ts").select(found.columns)
    assert_frame_equal(found, expected)


@quick
@given(st.lists(windows, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_the_venues_last_word_stands_whatever_the_order_of_arrival(
    asked: list[tuple[int, int]], random: object
) -> None:
    loads = [load(n, window, shift=float(n + 1)) for n, window in enumerate(asked)]
    shuffled = list(loads)
    random.shuffle(shuffled)
    found = stored(shuffled).read([BTC], interval=M1).select(*KEY, *BAR_VALUES)
    expected = pl.concat(loads).sort("ingested_at").unique("ts", keep="last").sort("ts")
    assert_frame_equal(found, expected.select(found.columns))


@quick
@given(st.lists(windows, min_size=1, max_size=5))
def test_history_and_bars_together_hold_every_value_that_ever_stood(asked: list[tuple[int, int]]) -> None:
    loads = [load(n, window, shift=float(n + 1)) for n, window in enumerate(asked)]
    bars = stored(loads)
    kept = pl.concat(
        [bars.read([BTC], interval=M1), bars.history.read().drop("superseded_at", "superseded_by")]
    )
    seen = pl.concat(loads).select(*KEY, *BAR_VALUES, "ingested_at").sort("ts", "ingested_at")
    assert_frame_equal(kept.select(seen.columns).sort("ts", "ingested_at"), seen)
    assert not bars.read([BTC], interval=M1).select(KEY).is_duplicated().any()


@quick
@given(st.lists(windows, min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_a_bar_stands_as_it_was_unless_a_hold_in_force_covers_it(
    held: list[tuple[int, int]], random: object
) -> None:
    holds = InMemoryHolds()
    bars = BarStore(Lake(tempfile.mkdtemp()), holds)
    rows = stored_bars(minutes=45)
    bars.upsert([rows], commit_key="all")
    placed = [
        Hold(f"h{n}", BTC, START + begin * MINUTE, START + (begin + minutes) * MINUTE, "", "", arrival(n))
        for n, (begin, minutes) in enumerate(held)
    ]
    for hold in random.choices(placed, k=3 * len(placed)):
        if hold in holds.in_force():
            bars.put_back(hold)
            holds.release(hold.id, actor="", at=arrival(99))
        else:
            holds.place(hold)
            bars.take_back(hold, superseded_at=arrival(50))
        free = rows
        for other in holds.in_force():
            free = free.remove(pl.col("ts").is_between(other.start, other.end, "left"))
        assert_frame_equal(bars.read([BTC], interval=M1), free)


@quick
@given(st.lists(windows, min_size=1, max_size=5), st.integers(-1, 5))
def test_an_as_of_read_is_what_was_stored_at_that_time(asked: list[tuple[int, int]], moment: int) -> None:
    loads = [load(n, window, shift=float(n + 1)) for n, window in enumerate(asked)]
    for rows in loads[:1]:
        assert rows["known_at"].max() < arrival(0)
    at = arrival(moment)
    found = stored(loads).read([BTC], interval=M1, as_of=at)
    then = stored([rows for n, rows in enumerate(loads) if n <= moment]).read([BTC], interval=M1)
    first_seen_later = found.join(then, on="ts", how="anti")
    assert_frame_equal(found.join(then.select("ts"), on="ts", how="semi"), then)
    assert (first_seen_later["known_at"] == first_seen_later["ts"] + MINUTE + LATENCY).all()
