"""Extract: concurrent, resumable, loud about nothing."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData, NotFound, Rejected, Unreachable
from autotrader.domain.instruments import Venue
from autotrader.ingestion.extract import VenueExtract, extract
from autotrader.ingestion.staging import StagedPages, folder_of
from autotrader.ingestion.windows import Assignment
from autotrader.ports.market_data import MarketDataSource
from tests.fakes.market_data import FailingSource
from tests.unit.data.trouble import in_trouble
from tests.unit.ingestion.market import END, START, Platform, assignment, market

BOTH = (assignment(), assignment("ETHUSDT"))


def run(platform: Platform, *assignments: Assignment, fails: dict | None = None) -> VenueExtract:
    def sources(venue: Venue) -> MarketDataSource:
        source = FailingSource(venue, platform.bars, platform.clock, page_bars=platform.page_bars)
        source.fails = fails or {}
        platform.opened.append(source)
        return source

    return extract(sources, platform.decoders, assignments, staging=platform.staging)


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return Platform(tmp_path, market())


def staged(platform: Platform, asked: Assignment) -> list[tuple[datetime, datetime]]:
    return [(p.start, p.end) for p in StagedPages(folder_of(platform.staging, asked))]


def test_pages_of_all_instruments_are_staged_and_join_without_holes(platform: Platform) -> None:
    done = run(platform, *BOTH)
    assert [(e.assignment.instrument, e.pages, e.error) for e in done.instruments] == [
        ("BTCUSDT", 4, None),
        ("ETHUSDT", 4, None),
    ]
    for asked in BOTH:
        windows = staged(platform, asked)
        assert (windows[0][0], windows[-1][1]) == (START, END)
        assert all(a[1] == b[0] for a, b in pairwise(windows))


def test_the_connection_is_closed_whatever_happens(platform: Platform) -> None:
    run(platform, *BOTH)
    with pytest.raises(NotFound):
        run(platform, assignment("NOSUCH"))
    assert [source.closed for source in platform.opened] == [True, True]


def test_it_goes_on_behind_the_last_staged_page(platform: Platform) -> None:
    with pytest.raises(Unreachable):
        run(platform, BOTH[0], fails={"BTCUSDT": (2, Unreachable("gone"))})
    before = staged(platform, BOTH[0])
    assert len(before) == 2
    done = run(platform, BOTH[0])
    assert (done.instruments[0].resumed_pages, done.instruments[0].pages) == (2, 4)
    assert staged(platform, BOTH[0])[:2] == before
    assert run(platform, BOTH[0]).instruments[0].payload_bytes == 0


@pytest.mark.parametrize("error", [Unreachable("gone"), Rejected("no"), NotFound("?"), BadData("html")])
def test_an_instrument_that_fails_does_not_stop_the_others(platform: Platform, error: Exception) -> None:
    done = run(platform, *BOTH, fails={"BTCUSDT": (1, error)})
    assert list(done.failures) == ["BTCUSDT"]
    assert str(error) in done.failures["BTCUSDT"]
    assert done.may_come is isinstance(error, Unreachable)
    assert len(staged(platform, BOTH[0])) == 1
    assert len(staged(platform, BOTH[1])) == 4


def test_when_none_is_complete_the_first_reason_is_raised(platform: Platform) -> None:
    with pytest.raises(Rejected, match="no"):
        run(platform, *BOTH, fails={"BTCUSDT": (0, Rejected("no")), "ETHUSDT": (0, Rejected("no"))})


def test_when_none_is_complete_and_one_may_come_it_is_worth_another_try(platform: Platform) -> None:
    with pytest.raises(Unreachable, match="gone"):
        run(platform, *BOTH, fails={"BTCUSDT": (0, Rejected("no")), "ETHUSDT": (0, Unreachable("gone"))})


def test_a_venue_that_delivers_nothing_fails_loudly(platform: Platform) -> None:
    platform.bars = {s: b.clear() for s, b in platform.bars.items()}
    with pytest.raises(Unreachable, match=r"expected bars from binance, was nothing at all for binance:BTC"):
        run(platform, *BOTH)


def test_one_instrument_without_bars_is_left_to_validation(platform: Platform) -> None:
    platform.bars["BTCUSDT"] = platform.bars["BTCUSDT"].clear()
    assert run(platform, *BOTH).failures == {}


def test_nothing_from_a_closed_market_is_fine(tmp_path: Path) -> None:
    saturday = datetime.fromisoformat("2024-02-03T00:00:00+00:00")
    platform = Platform(tmp_path, {"EUR_USD": market()["BTCUSDT"].clear()}, now=saturday + timedelta(days=2))
    asked = Assignment(Venue.OANDA, "EUR_USD", Interval.M1, saturday, saturday + timedelta(hours=6))
    assert run(platform, asked).failures == {}


def test_progress_is_told_page_by_page(platform: Platform) -> None:
    told = []
    extract(
        platform.sources,
        platform.decoders,
        [BOTH[0]],
        staging=platform.staging,
        progress=lambda asked, until: told.append((asked.instrument, until)),
    )
    assert told[-1] == ("BTCUSDT", END)
    assert len(told) == 4


def test_a_full_disk_is_one_line(platform: Platform) -> None:
    with in_trouble("full", platform.folder), pytest.raises(Rejected, match="the disk is full"):
        run(platform, *BOTH)


def test_a_foreign_file_among_staged_pages_is_named(platform: Platform) -> None:
    run(platform, *BOTH)
    (folder_of(platform.staging, BOTH[0]) / "pages" / "notes.txt").write_text("?")
    with pytest.raises(BadData, match=r"notes\.txt"):
        staged(platform, BOTH[0])
