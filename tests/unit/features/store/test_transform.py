"""From stored bars to feature rows: the same rows wherever the transformation begins."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.domain.bars import Interval
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.features.batch import compute
from autotrader.features.definitions import BALANCED
from autotrader.features.store import layout
from autotrader.features.store.transform import affected_range, transform
from tests.fakes.holds import InMemoryHolds
from tests.unit.features.market import MINUTE, START, walk, with_gaps

BTC = InstrumentId(Venue.BINANCE, "BTCUSDT")
M1 = Interval.M1
SPARSE = with_gaps(walk(4_000), kept=0.3)
END = START + 4_000 * MINUTE


@pytest.fixture
def bars(tmp_path: Path) -> BarStore:
    return BarStore(Lake(str(tmp_path / "lake")), InMemoryHolds())


def test_rows_of_a_later_start_equal_those_of_the_whole(bars: BarStore) -> None:
    bars.upsert([SPARSE], commit_key="a")
    whole = transform(bars, BTC, interval=M1, start=START, end=END)
    assert whole.schema == pl.Schema(layout.schema(BALANCED))
    assert_frame_equal(whole.select("ts", *BALANCED.names), compute(SPARSE))
    for minutes in (1, 400, 2_000, 3_900):
        start = START + minutes * MINUTE
        part = transform(bars, BTC, interval=M1, start=start, end=END)
        assert_frame_equal(part, whole.filter(pl.col("ts") >= start), check_exact=True)


def test_context_is_found_across_a_closed_market(bars: BarStore) -> None:
    week = timedelta(days=9)
    late = walk(50, seed=1, start=START + week)
    bars.upsert([pl.concat([walk(400), late])], commit_key="a")
    rows = transform(bars, BTC, interval=M1, start=START + week, end=START + 2 * week)
    assert rows.height == 50
    assert not rows["macd_signal"].is_nan().any()


def test_no_bars_give_no_rows(bars: BarStore) -> None:
    rows = transform(bars, BTC, interval=M1, start=START, end=END)
    assert rows.height == 0
    assert rows.schema == pl.Schema(layout.schema(BALANCED))


def test_a_row_is_known_when_the_last_bar_it_looks_back_on_is(bars: BarStore) -> None:
    late = START + timedelta(days=3)
    table = walk(700).with_columns(
        known_at=pl.when(pl.int_range(pl.len()) == 100).then(pl.lit(late)).otherwise("known_at")
    )
    bars.upsert([table], commit_key="a")
    rows = transform(bars, BTC, interval=M1, start=START, end=END)
    assert rows["known_at"][99] == table["known_at"][99]
    assert (rows["known_at"][100 : 100 + BALANCED.lookback] == late).all()
    after = 100 + BALANCED.lookback
    assert rows["known_at"][after] == table["known_at"][after]


@pytest.mark.parametrize("kept", [1.0, 0.3])
def test_the_affected_range_holds_every_row_that_changes(bars: BarStore, kept: float) -> None:
    table = walk(4_000) if kept == 1.0 else SPARSE
    bars.upsert([table], commit_key="a")
    nth = table.height // 2
    changed = table["ts"][nth]
    start, end = affected_range(bars, BTC, interval=M1, changed_start=changed, changed_end=changed + MINUTE)
    doubled = table.with_columns(
        pl.when(pl.int_range(pl.len()) == nth).then(pl.col(c) * 2).otherwise(c).alias(c)
        for c in ("open", "high", "low", "close", "volume")
    )
    before, after = compute(table), compute(doubled)
    differs = pl.any_horizontal(pl.col(n).ne_missing(after[n]) for n in BALANCED.names)
    moved = before.filter(differs)["ts"]
    assert start == moved.min() == changed
    assert moved.max() < end
    assert table.filter(pl.col("ts").is_between(start, end, "left")).height == BALANCED.lookback


def test_the_affected_range_of_the_newest_bars_is_their_own(bars: BarStore) -> None:
    bars.upsert([walk(300)], commit_key="a")
    changed = START + 295 * MINUTE
    asked = {"interval": M1, "changed_start": changed, "changed_end": START + 300 * MINUTE}
    assert affected_range(bars, BTC, **asked) == (changed, START + 300 * MINUTE)
    to_the_end = affected_range(bars, BTC, interval=M1, changed_start=changed, changed_end=changed + MINUTE)
    assert to_the_end == (changed, START + 300 * MINUTE)


def test_features_as_of_an_instant_come_from_the_bars_known_then(bars: BarStore) -> None:
    table = walk(400)
    bars.upsert([table], commit_key="a")
    seen = START + timedelta(days=5)
    restated = table[350:351].with_columns(
        pl.col("close") * 1.01, high=pl.col("high") * 1.02, ingested_at=pl.col("ingested_at") + MINUTE
    )
    bars.upsert([restated], commit_key="b", seen_at=seen)
    asked = {"interval": M1, "start": START, "end": END}
    now = transform(bars, BTC, **asked)
    then = transform(bars, BTC, **asked, as_of=seen - MINUTE)
    assert_frame_equal(then.select("ts", *BALANCED.names), compute(table))
    assert now["zscore_20"][350] != then["zscore_20"][350]
    assert now["known_at"][350] == seen
