"""Steps of the data pipeline from bars to the feature store, and its last word."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from autotrader.data.lake import LakeTable
from autotrader.domain.errors import AutotraderError, BadData, NotFound
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.features.store import derivation
from autotrader.pipelines.values import staging_of
from autotrader.ports.holds import Hold
from tests.unit.data.trouble import TROUBLES, in_trouble
from tests.unit.pipelines.platform import NOW, Platform, bars_of


@pytest.fixture
def platform(home: Path) -> Platform:
    return Platform.at(home, "BTCUSDT", "ETHUSDT")


def test_a_run_stores_features_for_every_bar_and_forgets_its_staging(platform: Platform) -> None:
    health = platform.run("r")
    assert health["severity"] == "healthy"
    assert health["rows"] == {"binance:BTCUSDT": 2880, "binance:ETHUSDT": 2880}
    assert health["features"]["rows"] == 5760
    assert not staging_of(Path, platform.settings, "data_pipeline", "r").exists()


def test_a_second_run_changes_no_table(platform: Platform) -> None:
    platform.run("r")
    before = platform.store.version(), platform.features.version()
    platform.run("again")
    assert (platform.store.version(), platform.features.version()) == before


def test_a_run_deletes_old_files_of_the_lake_that_no_version_has(platform: Platform) -> None:
    platform.run("r")
    folder = next(platform.lake.root.glob("bars/**/*.parquet")).parent
    old, young = folder / "old.parquet", folder / "young.parquet"
    days = platform.settings.lake.retention_days
    for path, age in ((old, days + 1), (young, days - 1)):
        path.write_bytes(b"left by a kill")
        written = time.time() - age * 86_400
        os.utime(path, (written, written))
    platform.run("again")
    assert (old.exists(), young.exists()) == (False, True)


def test_features_that_a_lost_run_did_not_live_to_store_come_with_the_next(home: Path) -> None:
    platform = Platform.at(home, "BTCUSDT", ingestion={"initial_days": 3})
    platform.bars = {Venue.BINANCE: bars_of(Venue.BINANCE, "BTCUSDT", hours=96)}
    undisturbed = Platform(platform.settings.model_copy(update={"home": home / "other"}), platform.bars)
    undisturbed.run()
    platform.now = NOW - timedelta(days=1)
    platform.commit(platform.validated(platform.plan("lost")), "lost")
    platform.now = NOW
    platform.run("next")  # its own window begins a day before the newest bar
    platform.run("and the next")
    expected = undisturbed.features.rows.read()
    found = platform.features.rows.read(start=expected["ts"][0])
    keys = ["ts", "feature_set_version"]
    assert platform.features.rows.count() == platform.store.bars.count()
    assert found.select(keys).equals(expected.select(keys))


def restate(platform: Platform, *, minute: int) -> None:
    """The venue has another close for one bar, long before the window of an incremental run."""
    bars = platform.bars[Venue.BINANCE]["BTCUSDT"]
    changed = pl.int_range(pl.len()) == minute
    platform.bars[Venue.BINANCE]["BTCUSDT"] = bars.with_columns(
        pl.when(changed).then((pl.col("high") + pl.col("low")) / 2).otherwise("close").alias("close")
    )


def test_bars_restated_long_ago_have_their_features_derived_again(home: Path) -> None:
    platform = Platform.at(home, "BTCUSDT", ingestion={"initial_days": 4})
    platform.bars = {Venue.BINANCE: bars_of(Venue.BINANCE, "BTCUSDT", hours=96)}
    platform.run("first")
    before = platform.features.rows.read()
    restate(platform, minute=100)
    first_day = (NOW - timedelta(days=4)).date().isoformat()
    planned = platform.plan("b", mode="backfill", start_date=first_day, end_date=first_day)
    platform.commit(platform.validated(planned), "b")  # and there the run ends for good
    assert platform.store.history.count() == 1

    planned = platform.plan("next")
    assert planned[0]["assignments"][0]["start"] > first_day + "T23"
    health = platform.run("next")
    assert health["severity"] == "healthy"
    after = platform.features.rows.read()
    undisturbed = Platform(platform.settings.model_copy(update={"home": home / "other"}), platform.bars)
    undisturbed.run()
    names = ["ts", *platform.features.feature_set.names]
    assert after.select(names).equals(undisturbed.features.rows.read().select(names))
    assert not after.select(names).equals(before.select(names))
    version = platform.features.version(), platform.features.derived.version()
    platform.run("and the next")
    assert (platform.features.version(), platform.features.derived.version()) == version


def test_features_of_bars_that_were_taken_back_go_with_them(home: Path) -> None:
    platform = Platform.at(home, "BTCUSDT", ingestion={"initial_days": 4})
    platform.bars = {Venue.BINANCE: bars_of(Venue.BINANCE, "BTCUSDT", hours=96)}
    platform.run("first")
    begin = NOW - timedelta(days=3, hours=5)
    hold = Hold("h", None, begin, begin + timedelta(hours=1), "wrong", "me", NOW)
    platform.holds.place(hold)
    platform.store.take_back(hold, superseded_at=NOW)
    assert platform.run("next")["severity"] == "healthy"
    assert platform.features.rows.count() == platform.store.bars.count() == 96 * 60 - 60
    platform.holds.release("h", actor="me", at=NOW)
    platform.store.put_back(hold)
    platform.run("and the next")
    assert platform.features.rows.count() == platform.store.bars.count() == 96 * 60


def test_a_rollback_that_is_repeated_after_its_undoing_changes_the_features_again(home: Path) -> None:
    platform = Platform.at(home, "BTCUSDT", ingestion={"initial_days": 4})
    platform.bars = {Venue.BINANCE: bars_of(Venue.BINANCE, "BTCUSDT", hours=96)}
    platform.run("first")
    names = ["ts", *platform.features.feature_set.names]
    whole = platform.features.rows.read().select(names)
    begin = NOW - timedelta(days=3)
    hold = Hold("h", None, begin, begin + timedelta(days=1), "wrong", "me", NOW)

    def without(run_key: str) -> pl.DataFrame:
        platform.holds.place(hold)
        platform.store.take_back(hold, superseded_at=NOW)
        platform.run(run_key)
        return platform.features.rows.read().select(names)

    rolled_back = without("one")
    platform.store.put_back(hold)
    platform.holds.release("h", actor="me", at=NOW)
    platform.run("two")
    assert platform.features.rows.read().select(names).equals(whole)
    assert not rolled_back.equals(whole.filter(pl.col("ts").dt.date() != begin.date()))
    assert without("three").equals(rolled_back)


def test_stale_features_are_part_of_the_last_word(platform: Platform) -> None:
    planned = platform.plan()
    validated = platform.validated(planned)
    transformed = [platform.transform(work) for work in platform.commit(validated)]
    loaded = platform.load(transformed)
    hold = Hold("h", None, NOW - timedelta(hours=30), NOW - timedelta(hours=29), "wrong", "me", NOW)
    platform.store.take_back(hold, superseded_at=NOW)
    health = platform.health(planned, validated, loaded)
    assert health["severity"] == "warning"
    assert {f["check"] for f in health["findings"]} == {"stale_features"}


def test_the_last_word_reads_only_bars_that_changed_since_their_features_were_stored(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = platform.plan()
    validated = platform.validated(planned)
    loaded = platform.load([platform.transform(work) for work in platform.commit(validated)])
    read: list[str] = []
    by_day = derivation.bars_by_day

    def bars_by_day(bars: LakeTable, instrument: InstrumentId, **more: Any) -> pl.DataFrame:
        read.append(instrument.symbol)
        return by_day(bars, instrument, **more)

    monkeypatch.setattr(derivation, "bars_by_day", bars_by_day)
    restate(platform, minute=3000)
    platform.commit(platform.validated(platform.plan("other")), "other")
    health = platform.health(planned, validated, loaded)
    assert read == ["BTCUSDT"]
    assert {f["check"] for f in health["findings"]} == {"stale_features"}


@pytest.mark.parametrize(("trouble", "message"), TROUBLES)
def test_a_store_in_trouble_is_one_clear_line_and_goes_well_afterwards(
    platform: Platform, trouble: str, message: str
) -> None:
    works = platform.commit(platform.validated(platform.plan()))
    transformed = [platform.transform(work) for work in works]
    with in_trouble(trouble, platform.lake.root), pytest.raises(AutotraderError, match=message) as caught:
        platform.load(transformed)
    assert "\n" not in str(caught.value)
    assert platform.features.rows.count() == 0
    assert platform.load(transformed)["inserted"] == 5760
    assert platform.load(transformed)["version"] == platform.features.version()


@pytest.mark.parametrize(("trouble", "message"), TROUBLES)
def test_staging_in_trouble_is_one_clear_line(platform: Platform, trouble: str, message: str) -> None:
    (work, _) = platform.commit(platform.validated(platform.plan()))
    with in_trouble(trouble, platform.settings.home), pytest.raises(AutotraderError, match=message) as caught:
        platform.transform(work)
    assert "\n" not in str(caught.value)


def test_a_corrupt_file_of_the_lake_is_bad_data_that_names_it(platform: Platform) -> None:
    (work, _) = platform.commit(platform.validated(platform.plan()))
    stored = next(path for path in platform.lake.root.rglob("*.parquet") if "BTCUSDT" in str(path))
    stored.write_bytes(stored.read_bytes()[:200])
    with pytest.raises(BadData, match=stored.name):
        platform.transform(work)


def test_staged_features_that_are_gone_are_not_found_by_their_name(platform: Platform) -> None:
    (work, _) = platform.commit(platform.validated(platform.plan()))
    transformed = platform.transform(work)
    Path(transformed["files"][0]).unlink()
    with pytest.raises(NotFound, match=Path(transformed["files"][0]).name):
        platform.load([transformed])


def test_nothing_to_load_is_no_commit(platform: Platform) -> None:
    nothing = {"inserted": 0, "replaced": 0, "unchanged": 0, "removed": 0, "bar_files": {}}
    assert platform.load([]) == {"version": None, **nothing}


def test_an_instrument_that_was_not_loaded_is_critical_and_named(platform: Platform) -> None:
    planned = platform.plan()
    validated = platform.validated(planned[:1])
    loaded = platform.load([platform.transform(work) for work in platform.commit(validated)])
    with pytest.raises(BadData, match="binance:ETHUSDT was not loaded"):
        platform.health(planned, validated, loaded)
    assert staging_of(Path, platform.settings, "data_pipeline", "run").exists()


def test_features_that_were_not_stored_are_critical(platform: Platform) -> None:
    planned = platform.plan()
    validated = platform.validated(planned)
    platform.commit(validated)
    with pytest.raises(BadData, match="no features were stored: see the tasks before"):
        platform.health(planned, validated, None)


def test_a_day_of_old_is_loaded_at_any_hour(platform: Platform) -> None:
    """Its run ends well between two data runs; one that was to load until now, and has not, does not."""
    platform.live = True
    platform.run("nightly")
    platform.now += timedelta(hours=10)  # nothing new comes: the venue's bars end at NOW
    platform.run("again", mode="reprocess", date=f"{NOW - timedelta(days=1):%Y-%m-%d}")
    with pytest.raises(BadData, match="600 minutes behind the market"):
        platform.run("until now")
