"""The feature store in a real lake: idempotent writes, point-in-time reads, nothing lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from autotrader.adapters.clocks import StandingMarketClock
from autotrader.data.lake import Lake
from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData, NotFound
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.features.batch import compute
from autotrader.features.definitions import BALANCED
from autotrader.features.store import layout
from autotrader.features.store.store import FeatureStore
from tests.unit.features.market import MINUTE, START, walk

BTC = InstrumentId(Venue.BINANCE, "BTCUSDT")
ETH = InstrumentId(Venue.BINANCE, "ETHUSDT")
M1 = Interval.M1
NOW = START + 400 * MINUTE
LATENCY = timedelta(seconds=2)
LATE = START + timedelta(days=2)


def feature_rows(symbol: str = "BTCUSDT", *, count: int = 400, seed: int = 0) -> pl.DataFrame:
    bars = walk(count, symbol=symbol, seed=seed)
    key = bars.select("venue", "instrument", "interval", "known_at")
    version = pl.lit(BALANCED.version).alias("feature_set_version")
    return (
        pl.concat([key, compute(bars)], how="horizontal")
        .with_columns(version)
        .select(list(layout.schema(BALANCED)))
    )


def shifted(rows: pl.DataFrame, *, known_at: datetime | None = None) -> pl.DataFrame:
    """The rows with other values, and known later where that is given."""
    moved = rows.with_columns(pl.col("rsi_14") + 1)
    return moved if known_at is None else moved.with_columns(known_at=pl.lit(known_at))


@pytest.fixture
def open_store(tmp_path: Path) -> Callable[..., FeatureStore]:
    lake = Lake(str(tmp_path / "lake"))
    return lambda now=NOW: FeatureStore(lake, StandingMarketClock(now))


@pytest.fixture
def store(open_store: Callable[..., FeatureStore]) -> FeatureStore:
    return open_store()


def test_rows_are_written_and_read_back(store: FeatureStore) -> None:
    done = store.write([feature_rows(), feature_rows("ETHUSDT", seed=1)], commit_key="a")
    assert (done.inserted, done.replaced, done.unchanged) == (800, 0, 0)
    assert store.version() == done.version
    assert store.rows.name == "features_balanced_v1"
    assert_frame_equal(store.load_features([BTC], interval=M1), feature_rows(), check_exact=True)
    both = store.load_features(
        [ETH, BTC], interval=M1, start=START + MINUTE, end=START + 3 * MINUTE, columns=["instrument", "hour"]
    )
    assert both["instrument"].to_list() == ["BTCUSDT"] * 2 + ["ETHUSDT"] * 2


def test_writing_the_same_again_writes_nothing(store: FeatureStore) -> None:
    first = store.write([feature_rows()], commit_key="a")
    again = store.write([feature_rows()], commit_key="b")
    assert (again.version, again.unchanged, again.inserted) == (first.version, 400, 0)
    assert store.write([feature_rows()], commit_key="a").repeated


def test_an_empty_store_reads_empty(store: FeatureStore) -> None:
    assert store.version() is None
    assert store.high_water_mark(BTC, M1) is None
    empty = pl.DataFrame(schema=layout.schema(BALANCED))
    assert_frame_equal(store.load_features([BTC], interval=M1), empty)
    assert_frame_equal(store.latest([BTC], interval=M1), empty)
    assert_frame_equal(store.training_frame([BTC], interval=M1, as_of=NOW), empty)
    assert store.metadata().rows == {}


def test_latest_is_the_newest_row_of_each_instrument(store: FeatureStore) -> None:
    store.write([feature_rows(), feature_rows("ETHUSDT", count=300)], commit_key="a")
    newest = store.latest([ETH, BTC, InstrumentId(Venue.BINANCE, "XRPUSDT")], interval=M1)
    assert newest["instrument"].to_list() == ["BTCUSDT", "ETHUSDT"]
    assert newest["ts"].to_list() == [START + 399 * MINUTE, START + 299 * MINUTE]


def test_a_training_frame_has_only_what_was_known(store: FeatureStore) -> None:
    store.write([feature_rows()], commit_key="a")
    at = START + 300 * MINUTE + LATENCY
    frame = store.training_frame([BTC], interval=M1, as_of=at)
    assert_frame_equal(frame, feature_rows()[:300], check_exact=True)
    just_before = store.training_frame([BTC], interval=M1, as_of=at - timedelta(microseconds=1))
    assert just_before.height == 299


def test_a_replaced_row_is_still_what_was_known_before(store: FeatureStore) -> None:
    rows = feature_rows()
    store.write([rows], commit_key="a")
    done = store.write([shifted(rows[350:360], known_at=LATE)], commit_key="b")
    assert (done.replaced, done.inserted) == (10, 0)
    before = store.training_frame([BTC], interval=M1, as_of=LATE - MINUTE)
    assert_frame_equal(before, rows, check_exact=True)
    after = store.training_frame([BTC], interval=M1, as_of=LATE)
    assert after["rsi_14"].to_list()[350:360] == (rows["rsi_14"][350:360] + 1).to_list()
    assert after.height == 400
    assert (after["ts"] == rows["ts"]).all()


def test_rows_replaced_twice_keep_every_version(store: FeatureStore) -> None:
    rows = feature_rows()[350:352]
    store.write([rows], commit_key="a")
    once, twice = LATE, LATE + timedelta(days=1)
    store.write([shifted(rows, known_at=once)], commit_key="b")
    store.write([shifted(shifted(rows), known_at=twice)], commit_key="c")
    seen = [
        store.training_frame([BTC], interval=M1, as_of=at)["rsi_14"][0] - rows["rsi_14"][0]
        for at in (once - MINUTE, twice - MINUTE, twice)
    ]
    assert seen == pytest.approx([0, 1, 2], abs=1e-4)


def test_a_correction_without_new_bars_was_not_known_before_it_was_made(
    open_store: Callable[..., FeatureStore],
) -> None:
    rows = feature_rows()[350:352]
    open_store().write([rows], commit_key="a")
    open_store(now=LATE).write([shifted(rows)], commit_key="b")
    store = open_store(now=LATE)
    before = store.training_frame([BTC], interval=M1, as_of=LATE - MINUTE)
    assert_frame_equal(before, rows, check_exact=True)
    now = store.training_frame([BTC], interval=M1, as_of=LATE)
    assert now["known_at"].to_list() == [LATE, LATE]


def test_a_kill_between_history_and_rows_is_made_right_by_the_next_write(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = feature_rows()
    store.write([rows], commit_key="a")
    record = store.history.upsert

    class Killed(BaseException):
        pass

    def killed_after(*arguments: object, **named: object) -> None:
        record(*arguments, **named)
        raise Killed

    monkeypatch.setattr(store.history, "upsert", killed_after)
    with pytest.raises(Killed):
        store.write([shifted(rows, known_at=LATE)], commit_key="b")
    monkeypatch.undo()
    assert_frame_equal(store.training_frame([BTC], interval=M1, as_of=LATE), rows, check_exact=True)
    store.write([shifted(rows, known_at=LATE)], commit_key="b")
    replaced = 400 - BALANCED["rsi_14"].lookback_bars + 1
    assert store.history.read().height == replaced
    assert_frame_equal(store.training_frame([BTC], interval=M1, as_of=NOW + LATENCY), rows, check_exact=True)


def test_labels_get_the_features_known_at_their_instant(store: FeatureStore) -> None:
    rows = feature_rows()
    store.write([rows, feature_rows("ETHUSDT", seed=1)], commit_key="a")
    store.write([shifted(rows[350:], known_at=LATE)], commit_key="b")
    labels = pl.DataFrame(
        {
            "venue": "binance",
            "instrument": ["ETHUSDT", "BTCUSDT", "BTCUSDT"],
            "ts": pl.Series([NOW, NOW + LATENCY, LATE], dtype=rows.schema["ts"]),
        }
    )
    joined = store.as_of_join(labels, interval=M1, columns=["rsi_14"])
    expected = [
        feature_rows("ETHUSDT", seed=1)["rsi_14"][398],
        rows["rsi_14"][399],
        rows["rsi_14"][399] + 1,
    ]
    assert joined["rsi_14"].to_list() == pytest.approx(expected)
    assert joined.columns == ["venue", "instrument", "ts", "feature_ts", "known_at", "rsi_14"]


def test_a_pinned_version_is_read_again(store: FeatureStore) -> None:
    first = store.write([feature_rows()], commit_key="a").version
    store.pin(first, "run-1")
    store.write([shifted(feature_rows(), known_at=LATE)], commit_key="b")
    assert store.rows.pinned() == {first: ["run-1"]}
    assert_frame_equal(store.load_features([BTC], interval=M1, version=first), feature_rows())
    with pytest.raises(NotFound):
        store.load_features([BTC], interval=M1, version=99)


def test_rows_are_removed_with_their_bars(store: FeatureStore) -> None:
    store.write([feature_rows(), feature_rows("ETHUSDT")], commit_key="a")
    gone = store.remove(BTC, start=START, end=START + 100 * MINUTE, commit_key="rollback")
    assert gone == 100
    assert store.load_features([BTC], interval=M1).height == 300
    assert store.load_features([ETH], interval=M1).height == 400


def test_the_store_describes_itself(store: FeatureStore) -> None:
    store.write([feature_rows(), feature_rows("ETHUSDT", count=300)], commit_key="a")
    found = store.metadata()
    assert found.feature_set_version == "balanced-v1"
    assert found.features == BALANCED.features
    assert found.rows == {"binance:BTCUSDT 1m": 400, "binance:ETHUSDT 1m": 300}
    statistics = store.reference_statistics([BTC, ETH], interval=M1, start=START, end=NOW, as_of=LATE)
    assert statistics.rows == 700
    assert set(statistics.features) == set(BALANCED.names)


def test_freshness_is_that_of_each_feature(open_store: Callable[..., FeatureStore]) -> None:
    rows = feature_rows().with_columns(
        taker_buy_share_20=pl.when(pl.col("ts") < START + 300 * MINUTE).then("taker_buy_share_20")
    )
    late = open_store(now=NOW + 2 * MINUTE)
    late.write([rows.with_columns(pl.col("taker_buy_share_20").fill_null(float("nan")))], commit_key="a")
    found = late.freshness([BTC, ETH], interval=M1)
    state = {(r["instrument"], r["feature"]): (r["behind_seconds"], r["grade"]) for r in found.to_dicts()}
    assert state["BTCUSDT", "rsi_14"] == (120, "FRESH")
    assert state["BTCUSDT", "taker_buy_share_20"] == (102 * 60, "STALE")
    assert state["ETHUSDT", "rsi_14"] == (None, "OUTDATED")


def test_frames_that_are_not_feature_rows_are_refused(store: FeatureStore) -> None:
    with pytest.raises(BadData, match="without"):
        store.write([feature_rows().drop("rsi_14")], commit_key="a")
    with pytest.raises(BadData, match="Float64"):
        store.write([feature_rows().with_columns(pl.col("rsi_14").cast(pl.Float64))], commit_key="a")
    assert store.load_features([BTC], interval=M1).is_empty()
