"""What every archive promises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from autotrader.adapters.file_archive import FileArchive
from autotrader.domain.errors import BadData, NotFound
from autotrader.domain.instruments import Venue
from autotrader.ports.archive import Archive, ArchiveEntry
from autotrader.ports.market_data import RawPage
from tests.fakes.archive import InMemoryArchive
from tests.s3.buckets import in_bucket, new_bucket, with_credentials
from tests.services import local_aws
from tests.unit.data.frames import START, page, stored_bars


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with local_aws(tmp_path_factory.mktemp("aws")) as url:
        yield url


@pytest.fixture(params=["file", "memory", "s3"])
def archive(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    if request.param == "s3":
        with_credentials(monkeypatch)
        url = request.getfixturevalue("aws")
        return FileArchive(in_bucket(url, new_bucket(url), "archive"))
    return FileArchive(str(tmp_path / "archive")) if request.param == "file" else InMemoryArchive()


@pytest.fixture
def raw() -> RawPage:
    return page(stored_bars(minutes=3))


def test_a_stored_page_comes_back_whole(archive: Archive, raw: RawPage) -> None:
    assert archive.load(archive.store(raw)) == raw


def test_an_empty_page_is_a_page(archive: Archive, raw: RawPage) -> None:
    empty = replace(raw, payload=b"")
    assert archive.load(archive.store(empty)) == empty


def test_storing_a_page_twice_stores_it_once(archive: Archive, raw: RawPage) -> None:
    assert archive.store(raw) == archive.store(raw)
    assert len(list(archive.entries())) == 1


def test_the_same_payload_fetched_again_is_another_page(archive: Archive, raw: RawPage) -> None:
    later = replace(raw, fetched_at=raw.fetched_at + timedelta(microseconds=1))
    first, second = archive.store(raw), archive.store(later)
    assert first.sha256 == second.sha256
    assert [archive.load(entry) for entry in archive.entries()] == [raw, later]


def test_pages_that_differ_in_their_request_alone_are_kept_apart(archive: Archive, raw: RawPage) -> None:
    wider = replace(raw, end=raw.end + timedelta(minutes=1))
    archive.store(raw)
    archive.store(wider)
    assert len(list(archive.entries())) == 2


def test_the_key_is_day_venue_instrument_and_name(archive: Archive, raw: RawPage) -> None:
    day, venue, instrument, name = archive.store(raw).key.split("/")
    assert (day, venue, instrument) == ("2024-02-01", "binance", "BTCUSDT")
    assert archive.store(raw).sha256 in name


def test_entries_are_bounded_by_venue_instrument_and_days(archive: Archive, raw: RawPage) -> None:
    other_day = replace(raw, start=START + timedelta(days=1), end=START + timedelta(days=2))
    other_instrument = replace(raw, instrument="ETHUSDT")
    other_venue = replace(raw, venue=Venue.OANDA, instrument="EUR_USD")
    stored = [archive.store(p) for p in (raw, other_day, other_instrument, other_venue)]
    assert list(archive.entries()) == sorted(stored, key=lambda entry: entry.key)
    assert list(archive.entries(venue=Venue.OANDA)) == [stored[3]]
    assert list(archive.entries(instrument="ETHUSDT")) == [stored[2]]
    assert list(archive.entries(start=date(2024, 2, 2))) == [stored[1]]
    assert list(archive.entries(venue=Venue.BINANCE, instrument="BTCUSDT", end=date(2024, 2, 1))) == [
        stored[0]
    ]


def test_an_archive_without_pages_has_no_entries(archive: Archive) -> None:
    assert list(archive.entries()) == []


def test_a_page_that_is_not_there_is_not_found(archive: Archive, raw: RawPage) -> None:
    entry = archive.store(raw)
    missing = ArchiveEntry(entry.key.replace("BTCUSDT", "ETHUSDT"), entry.sha256)
    with pytest.raises(NotFound, match="expected"):
        archive.load(missing)


def test_a_page_of_another_digest_is_bad_data(archive: Archive, raw: RawPage) -> None:
    entry = archive.store(raw)
    with pytest.raises(BadData, match=r"expected .* was another"):
        archive.load(ArchiveEntry(entry.key, "0" * 64))


def test_an_instrument_may_be_named_with_any_character(archive: Archive, raw: RawPage) -> None:
    odd = [replace(raw, instrument=name) for name in ("BRK B", "EUR/USD", "..", "ÄÖ%2F")]
    if isinstance(archive, FileArchive):
        entries = [archive.store(p) for p in odd]
        assert [archive.load(entry) for entry in entries] == odd
        assert [list(archive.entries(instrument=p.instrument)) for p in odd] == [[e] for e in entries]
