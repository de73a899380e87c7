"""The lake from the archive alone: every table, every row, every column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from autotrader.adapters.clocks import LiveMarketClock
from autotrader.config.settings import Settings
from autotrader.data.bars import superseded_at
from autotrader.data.lake import Lake
from autotrader.domain.errors import BadData, Refused
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.ingestion.rebuild import Rebuilt, rebuild
from autotrader.ports.holds import Hold
from tests.unit.ingestion.market import END, START, Platform, assignment, market

BTC = InstrumentId(Venue.BINANCE, "BTCUSDT")


def dirty(rows: pl.DataFrame, *, bump: float = 0.0) -> pl.DataFrame:
    """Some restated rows, one bad one, one doubled and one missing."""
    at = pl.int_range(pl.len())
    restated = at.is_between(40, 60) | at.is_between(190, 210)
    rows = rows.with_columns(
        close=pl.when(restated).then(pl.col("close") + bump).otherwise("close"),
        high=pl.when(restated).then(pl.col("high") + bump).otherwise("high"),
        low=pl.when(at == 77).then(-1.0).otherwise("low"),
    )
    return pl.concat([rows[:120], rows[119:120], rows[121:]])


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return Platform(tmp_path / "live", {s: dirty(b) for s, b in market().items()})


def rebuilt(platform: Platform, into: Path) -> Platform:
    copy = Platform(into, {}, holds=platform.holds)
    assert rebuild_into(platform, copy.folder / "lake").pages > 0
    return copy


def rebuild_into(platform: Platform, folder: Path, *, key: str | None = None) -> Rebuilt:
    return rebuild(
        into=str(folder),
        key=key,
        settings=Settings(),
        archive=platform.archive,
        decoders=platform.decoders,
        lake=platform.lake,
        holds=platform.holds,
        clock=LiveMarketClock(),
        places=Path,
    )


def live_through(platform: Platform) -> None:
    """Three loads: overlapping, with restatements, one of them of a part of the window."""
    both = (assignment(), assignment("ETHUSDT"))
    platform.ingest(*both, run="1")
    platform.bars = {s: dirty(b, bump=0.5) for s, b in market().items()}
    platform.ingest(*both, run="2")
    platform.bars = {s: dirty(b, bump=1.0) for s, b in market().items()}
    platform.page_bars = 37
    platform.ingest(assignment(start=START + timedelta(minutes=30), end=END), run="3")


def assert_equal_tables(found: Platform, expected: Platform) -> None:
    for name, rows in expected.tables().items():
        assert rows.height > 0, name
        assert_frame_equal(found.tables()[name], rows)


def test_the_rebuilt_tables_are_equal_in_every_row_and_column(platform: Platform, tmp_path: Path) -> None:
    live_through(platform)
    assert_equal_tables(rebuilt(platform, tmp_path / "again"), platform)


def test_a_rollback_and_its_undoing_are_lived_through_again(platform: Platform, tmp_path: Path) -> None:
    live_through(platform)
    clock = LiveMarketClock()
    window = (START + timedelta(minutes=45), START + timedelta(minutes=90))
    stays = Hold("stays", BTC, *window, "bad", "ops", placed_at=datetime.now(UTC))
    ends = Hold(
        "ends", None, START + timedelta(hours=3), START + timedelta(hours=4), "?", "ops", datetime.now(UTC)
    )
    beside = Hold("beside", BTC, ends.start + timedelta(minutes=30), END, "?", "ops", datetime.now(UTC))
    for hold in (stays, ends, beside):
        platform.holds.place(hold)
        platform.store.take_back(hold, superseded_at=superseded_at(hold, clock))
    platform.bars = {s: dirty(b, bump=2.0) for s, b in market().items()}
    platform.ingest(assignment(), assignment("ETHUSDT"), run="4")
    platform.store.put_back(ends)
    platform.holds.release("ends", actor="ops", at=datetime.now(UTC))
    platform.ingest(assignment(), assignment("ETHUSDT"), run="5")
    assert platform.store.bars.read(instruments=["BTCUSDT"], start=window[0], end=window[1]).is_empty()
    assert_equal_tables(rebuilt(platform, tmp_path / "again"), platform)


def test_holds_after_the_last_page_are_lived_through_in_their_order(
    platform: Platform, tmp_path: Path
) -> None:
    live_through(platform)
    ends, stays = (
        Hold(name, BTC, START + timedelta(minutes=minute), END, "?", "ops", datetime.now(UTC))
        for name, minute in (("ends", 30), ("stays", 60))
    )
    for hold in (ends, stays):
        platform.holds.place(hold)
        platform.store.take_back(hold, superseded_at=superseded_at(hold, LiveMarketClock()))
    platform.store.put_back(ends)
    platform.holds.release("ends", actor="ops", at=datetime.now(UTC))
    assert platform.store.bars.read(instruments=["BTCUSDT"], start=stays.start).is_empty()
    assert_equal_tables(rebuilt(platform, tmp_path / "again"), platform)


def test_an_interrupted_rebuild_is_taken_up(platform: Platform, tmp_path: Path) -> None:
    live_through(platform)
    into = tmp_path / "again"
    decodes = iter(range(5))

    def failing(venue: Venue) -> Callable[..., pl.DataFrame]:
        def decode(page: object) -> pl.DataFrame:
            if next(decodes, None) is None:
                raise KeyboardInterrupt
            return platform.decoders(venue)(page)

        return decode

    interrupted = replace(platform)
    interrupted.decoders = failing
    with pytest.raises(KeyboardInterrupt):
        rebuild_into(interrupted, into / "lake")
    assert_equal_tables(rebuilt(platform, into), platform)


def test_a_lake_that_has_bars_is_not_rebuilt_into(platform: Platform) -> None:
    platform.ingest(assignment())
    with pytest.raises(Refused, match="expected a lake without bars"):
        rebuild_into(platform, platform.folder / "lake")


def test_a_damaged_page_stops_the_rebuild_and_is_named(platform: Platform, tmp_path: Path) -> None:
    platform.ingest(assignment())
    victim = next((platform.folder / "archive").rglob("*.gz"))
    victim.write_bytes(victim.read_bytes()[:-20])
    with pytest.raises(BadData, match=victim.name):
        rebuild_into(platform, tmp_path / "again")


def test_the_report_counts_what_is_there(platform: Platform, tmp_path: Path) -> None:
    platform.ingest(assignment(), assignment("ETHUSDT"))
    done = rebuild_into(platform, tmp_path / "again")
    rows = {name: table.height for name, table in platform.tables().items()}
    assert (done.bars, done.history, done.quarantine) == tuple(rows.values())
    assert [str(i) for i in done.instruments] == ["binance:BTCUSDT", "binance:ETHUSDT"]
    assert Lake(done.lake).names() == ["bars", "quarantine"]


def test_a_rebuild_that_has_ended_says_so_by_its_key_and_to_no_other(
    platform: Platform, tmp_path: Path
) -> None:
    live_through(platform)
    place = tmp_path / "again" / "lake"
    done = rebuild_into(platform, place, key="of today")
    before = sorted(path for path in place.rglob("*") if path.is_file())
    assert rebuild_into(platform, place, key="of today") == done
    assert sorted(path for path in place.rglob("*") if path.is_file()) == before
    for other in (None, "", "of yesterday"):
        with pytest.raises(Refused, match="expected a lake without bars"):
            rebuild_into(platform, place, key=other)
