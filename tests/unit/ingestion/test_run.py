"""From pages to tables: what the venue sends, and what becomes of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from autotrader import command
from autotrader.data.schemas import DECODED_BARS
from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData, NotFound
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.verdicts import Severity
from autotrader.ingestion.archive import archive_staged, find_archived
from autotrader.ingestion.commit import commit_bars
from autotrader.ingestion.extract import extract
from autotrader.ingestion.staging import StagedPages, folder_of
from autotrader.ingestion.validate import validate_archived
from autotrader.ports.holds import Hold
from tests.fakes.market_data import decode_page
from tests.unit.ingestion.market import END, LATENCY, NOW, START, Platform, assignment, market

BTC = InstrumentId(Venue.BINANCE, "BTCUSDT")


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return Platform(tmp_path, market())


def test_bars_arrive_with_their_provenance_and_known_after_close_and_latency(platform: Platform) -> None:
    done = platform.ingest(assignment(), assignment("ETHUSDT"))
    assert (done.committed.bars.inserted, done.committed.quarantined) == (720, 0)
    rows = platform.store.read([BTC], interval=Interval.M1)
    assert_frame_equal(rows.select(list(DECODED_BARS)), platform.bars["BTCUSDT"])
    assert (rows["known_at"] == rows["ts"] + timedelta(minutes=1) + LATENCY).all()
    assert rows["source"].unique().to_list() == ["memory"]
    archived = {platform.archive.load(e).fetched_at for e in platform.archive.entries(instrument="BTCUSDT")}
    assert set(rows["ingested_at"]) == archived


def test_running_it_twice_gives_the_same_tables(platform: Platform) -> None:
    platform.ingest(assignment(), run="1")
    before = platform.tables()
    again = platform.ingest(assignment(), run="2").committed.bars
    assert (again.inserted, again.unchanged, again.restated) == (0, 360, 0)
    for name, rows in platform.tables().items():
        assert_frame_equal(rows, before[name])


def test_the_archive_has_every_page_before_anything_is_derived(platform: Platform) -> None:
    done = platform.ingest(assignment())
    staged = list(StagedPages(folder_of(platform.staging / "run", assignment())))
    assert len(staged) == 4
    assert [platform.archive.load(e) for e in platform.archive.entries()] == staged
    assert done.validated[0].rows == 360


def test_a_bar_that_has_not_closed_is_never_stored(platform: Platform) -> None:
    platform.now = START + timedelta(minutes=100, seconds=30)
    platform.ingest(assignment(end=START + timedelta(minutes=101)))
    assert platform.store.high_water_mark(BTC, Interval.M1) == START + timedelta(minutes=99)


def test_bad_rows_go_to_quarantine_with_reason_and_page(platform: Platform) -> None:
    rows = platform.bars["BTCUSDT"]
    at = pl.int_range(pl.len())
    platform.bars["BTCUSDT"] = rows.with_columns(
        low=pl.when(at == 5).then(-1.0).when(at == 6).then(pl.col("high") * 2).otherwise("low"),
        close=pl.when(at == 7).then(None).otherwise("close"),
    )
    done = platform.ingest(assignment())
    assert (done.committed.bars.inserted, done.committed.quarantined) == (357, 3)
    bad = platform.tables()["quarantine"]
    assert bad["ts"].to_list() == rows["ts"][5:8].to_list()
    assert [r.split(",")[0] for r in bad["reason"]] == ["price_not_positive", "ohlc_order", "not_a_number"]
    assert bad["row"].to_list() == [5, 6, 7]
    assert set(bad["sha256"]) <= {e.sha256 for e in platform.archive.entries()}
    assert done.validated[0].verdict.severity is Severity.WARNING


def test_a_page_that_cannot_be_read_is_quarantined_whole_and_critical(platform: Platform) -> None:
    platform.ingest(assignment(), run="0")
    staged = StagedPages(folder_of(platform.staging / "0", assignment()))
    spoilt = next(iter(staged))
    folder = platform.staging / "1"
    for page in staged:
        payload = b"<html>502, try later</html>" if page == spoilt else page.payload
        changed = {f: getattr(page, f) for f in page.__slots__} | {"payload": payload}
        StagedPages(folder_of(folder, assignment())).add(type(page)(**changed))
    archived = archive_staged(platform.archive, assignment(), staging=folder)
    checked = validate_archived(platform.archive, decode_page, archived, latency=LATENCY)
    assert (checked.rows, checked.refused) == (260, 1)
    assert checked.verdict.severity is Severity.CRITICAL
    assert "could not be read" in checked.verdict.reason
    commit_bars(platform.lake, platform.store, [checked])
    (reason,) = platform.tables()["quarantine"]["reason"]
    assert reason.startswith("unreadable: ")


@pytest.mark.parametrize(
    ("kept", "severity"), [(344, Severity.HEALTHY), (330, Severity.WARNING), (300, Severity.CRITICAL)]
)
def test_missing_bars_are_judged_by_the_calendar(platform: Platform, kept: int, severity: Severity) -> None:
    platform.bars["BTCUSDT"] = platform.bars["BTCUSDT"][:kept]
    (checked,) = platform.ingest(assignment()).validated
    (missing,) = [f for f in checked.verdict.findings if f.check == "missing_share"]
    assert missing.severity is severity
    assert missing.evidence["missing"] == 360 - kept


def test_unordered_and_doubled_rows_are_put_right_and_said(platform: Platform) -> None:
    rows = platform.bars["BTCUSDT"]
    platform.bars["BTCUSDT"] = pl.concat([rows[1:2], rows[:1], rows[1:]])
    done = platform.ingest(assignment())
    found = platform.store.read([BTC], interval=Interval.M1)
    assert_frame_equal(found.select(list(DECODED_BARS)), rows)
    findings = {f.check: f.severity for f in done.validated[0].verdict.findings}
    assert findings["order"] is Severity.WARNING
    assert findings["duplicate"] is Severity.WARNING


def test_a_partly_failed_venue_stores_what_came(platform: Platform) -> None:
    done = platform.ingest(assignment(), assignment("NOSUCH"))
    assert list(done.extracted.failures) == ["NOSUCH"]
    assert done.committed.bars.inserted == 360


def test_results_of_steps_are_plain_json(platform: Platform) -> None:
    plain = command.to_plain(platform.ingest(assignment()))
    assert plain["validated"][0]["assignment"]["instrument"] == "BTCUSDT"
    assert plain["committed"]["bars"]["inserted"] == 360


# ------------------------------------------------------------------------------ reprocess


def reprocess(platform: Platform, decode: object = decode_page) -> object:
    asked = assignment(end=END)
    archived = find_archived(platform.archive, asked, staging=platform.staging / "reprocess")
    checked = validate_archived(platform.archive, decode, archived, latency=LATENCY)
    return commit_bars(platform.lake, platform.store, [checked], seen_at=NOW).bars


def test_reprocessing_a_day_from_the_archive_changes_nothing(platform: Platform) -> None:
    platform.ingest(assignment(), run="1")
    platform.bars = market(seed=8)
    platform.ingest(assignment(start=START + timedelta(hours=1)), run="2")
    before = platform.tables()
    for _ in range(2):
        reprocess(platform)
    for name, rows in platform.tables().items():
        assert_frame_equal(rows, before[name])


def test_reprocessing_after_a_hold_stores_the_rows_that_it_kept_out_before(platform: Platform) -> None:
    extract(platform.sources, platform.decoders, [assignment()], staging=platform.staging)
    archive_staged(platform.archive, assignment(), staging=platform.staging)
    hold = Hold("h", BTC, START + timedelta(hours=2), START + timedelta(hours=4), "?", "ops", placed_at=NOW)
    platform.holds.place(hold)
    kept_out = reprocess(platform)
    assert (kept_out.inserted, kept_out.held) == (240, 120)
    platform.holds.release("h", actor="ops", at=NOW)
    assert reprocess(platform).inserted == 120
    assert reprocess(platform).inserted == 0


def test_reprocessing_with_a_decoder_that_was_put_right_restates(platform: Platform) -> None:
    platform.ingest(assignment(), run="1")
    done = reprocess(platform, lambda page: decode_page(page).with_columns(pl.col("volume") * 1000))
    assert done.restated == 360
    rows = platform.store.read([BTC], interval=Interval.M1)
    assert rows["known_at"].unique().to_list() == [NOW]
    assert platform.tables()["bars_history"].height == 360


def test_steps_out_of_turn_say_which_comes_first(platform: Platform) -> None:
    nothing = archive_staged(platform.archive, assignment(), staging=platform.staging)
    Path(nothing.entries).unlink()
    with pytest.raises(NotFound, match="archive first"):
        validate_archived(platform.archive, decode_page, nothing, latency=LATENCY)
    extract(platform.sources, platform.decoders, [assignment()], staging=platform.staging)
    archived = archive_staged(platform.archive, assignment(), staging=platform.staging)
    checked = validate_archived(platform.archive, decode_page, archived, latency=LATENCY)
    path = Path(checked.clean[0])
    path.write_bytes(b"half")
    with pytest.raises(BadData, match="validate again"):
        commit_bars(platform.lake, platform.store, [checked])
    path.unlink()
    with pytest.raises(NotFound, match="validate again"):
        commit_bars(platform.lake, platform.store, [checked])
