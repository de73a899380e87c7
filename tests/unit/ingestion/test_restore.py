"""A day from the archive, and a rebuilt lake in the place of another; both say what they would do first."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from autotrader import command
from autotrader.adapters.clocks import SystemWallClock
from autotrader.config.settings import Settings
from autotrader.domain.bars import Interval
from autotrader.domain.errors import ConfigurationError, NotFound, Refused
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.ingestion.archive import find_archived
from autotrader.ingestion.rebuild import rebuild
from autotrader.ingestion.restore import restore
from autotrader.ingestion.swap_rebuilt import swap_rebuilt
from autotrader.ingestion.windows import Assignment
from autotrader.ports.holds import Hold
from autotrader.ports.market_data import PAGE_BARS
from tests.fakes.events import InMemoryEventLog
from tests.fakes.market_data import made_bars
from tests.fakes.registry import InMemoryRegistry
from tests.unit.ingestion.market import END, START, Platform, assignment, market

DAY = START.date()
ROWS = int((END - START) / timedelta(minutes=1))


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    monkeypatch.setenv("AUTOTRADER_LAKE__URI", str(tmp_path / "live" / "lake"))
    platform = Platform(tmp_path / "live", market())
    platform.ingest(assignment(), assignment("ETHUSDT"))
    return platform


def bring_back(platform: Platform, day: date = DAY, **more: Any) -> command.Result:
    return restore(
        date=day,
        reason="lost",
        settings=Settings(),
        archive=platform.archive,
        decoders=platform.decoders,
        lake=platform.lake,
        holds=platform.holds,
        registry=InMemoryRegistry(),
        events=InMemoryEventLog(),
        clock=platform.clock,
        wall=SystemWallClock(),
        **more,
    )


def test_lost_bars_come_back_as_they_were_for_one_instrument_or_all(platform: Platform) -> None:
    before = platform.tables()["bars"]
    shutil.rmtree(platform.folder / "lake" / "bars")
    planned = bring_back(platform, instrument="BTCUSDT", dry_run=True).data
    assert (planned.missing, planned.differing, planned.equal) == (ROWS, 0, 0)
    assert platform.lake.names() == ["bars_history", "quarantine"] or "bars" not in platform.lake.names()
    assert bring_back(platform, instrument="BTCUSDT").data.stored.inserted == ROWS
    assert bring_back(platform).data.stored.inserted == ROWS
    assert bring_back(platform).data.stored.inserted == 0
    columns = [c for c in before.columns if c != "known_at"]
    assert platform.tables()["bars"].select(columns).equals(before.select(columns))


def test_a_day_comes_back_from_a_page_that_began_weeks_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOTRADER_STRATEGY__INTERVAL", "1h")
    end = START + timedelta(days=40)
    hours = made_bars(Venue.BINANCE, "BTCUSDT", START, end, interval=Interval.H1)
    platform = Platform(tmp_path, {"BTCUSDT": hours}, now=end, page_bars=PAGE_BARS)
    asked = Assignment(Venue.BINANCE, "BTCUSDT", Interval.H1, START, end)
    platform.ingest(asked)
    shutil.rmtree(platform.folder / "lake" / "bars")
    day = (START + timedelta(days=30)).date()
    assert bring_back(platform, day).data.stored.inserted == 960
    again = replace(asked, start=end - timedelta(days=1))
    assert find_archived(platform.archive, again, staging=platform.staging).pages == 1


def test_a_hold_is_named_and_a_day_without_pages_with_its_neighbours(platform: Platform) -> None:
    eth = InstrumentId(Venue.BINANCE, "ETHUSDT")
    platform.holds.place(Hold("hold-1", eth, START, END, "rubbish", "anna", placed_at=datetime.now(UTC)))
    with pytest.raises(Refused, match=r"hold-1 of binance:ETHUSDT.*anna: rubbish.*--undo hold-1"):
        bring_back(platform)
    assert bring_back(platform, instrument="BTCUSDT").data.equal == ROWS
    with pytest.raises(NotFound, match=f"of {DAY - timedelta(days=9)} .*nearest days are {DAY}"):
        bring_back(platform, DAY - timedelta(days=9), instrument="BTCUSDT")
    with pytest.raises(ConfigurationError, match="not after market time"):
        bring_back(platform, DAY + timedelta(days=99))


def swap(platform: Platform, **more: Any) -> command.Result:
    return swap_rebuilt(
        name="x",
        reason="damage",
        settings=Settings(),
        archive=platform.archive,
        events=InMemoryEventLog(),
        wall=SystemWallClock(),
        **more,
    )


def rebuild_beside(platform: Platform) -> None:
    rebuild(
        into=str(platform.folder / "lake" / "_rebuilt-x"),
        settings=Settings(),
        archive=platform.archive,
        decoders=platform.decoders,
        lake=platform.lake,
        holds=platform.holds,
        clock=platform.clock,
        places=Path,
    )


def test_rebuilt_tables_take_their_place_and_go_again_from_any_point(platform: Platform) -> None:
    before, lake = platform.tables()["bars"], platform.folder / "lake"
    with pytest.raises(NotFound):
        swap(platform)
    assert "from 8 archived pages" in swap(platform, dry_run=True).text
    rebuild_beside(platform)
    (lake / "_set_aside-x").mkdir()
    (lake / "bars").rename(lake / "_set_aside-x" / "bars")  # a kill between the two moves
    assert "bars" in swap(platform).data.moved
    assert swap(platform).text == "nothing is left to move"
    assert platform.tables()["bars"].equals(before)
    assert "bars" in swap(platform, undo=True).data.moved
    assert platform.tables()["bars"].equals(before)
    assert (lake / "_rebuilt-x" / "bars").is_dir()


def test_bars_that_the_archive_lacks_are_not_swapped_away_unless_that_is_accepted(platform: Platform) -> None:
    shutil.rmtree(next((platform.folder / "archive").glob("*/binance/ETHUSDT")))
    rebuild_beside(platform)
    with pytest.raises(Refused, match=f"was {ROWS} that the archive does not have"):
        swap(platform)
    assert platform.tables()["bars"].height == 2 * ROWS
    assert swap(platform, accept_loss=True).data.lost == ROWS
    assert platform.tables()["bars"].filter(pl.col("instrument") == "ETHUSDT").is_empty()
