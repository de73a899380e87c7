"""Tables: upsert, read, delete, versions, pins, vacuum."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from autotrader.data.delta_log import CommitConflict, DeltaLog
from autotrader.data.lake import Lake, LakeTable
from autotrader.data.parquet_files import FILE_ROWS
from autotrader.data.schemas import BARS
from autotrader.domain.errors import BadData, ConfigurationError, NotFound, Rejected, Unreachable
from tests.unit.data.frames import MINUTE, START, stored_bars
from tests.unit.data.trouble import TROUBLES, in_trouble


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def table(lake: Lake) -> LakeTable:
    return lake.table("bars", BARS)


def files(table: LakeTable) -> set[Path]:
    return set(table.root.rglob("*.parquet"))


def test_a_table_that_was_never_written_is_empty_and_has_no_version(table: LakeTable) -> None:
    assert table.version() is None
    assert_frame_equal(table.read(), pl.DataFrame(schema=BARS))
    assert table.vacuum(retention=timedelta(0)) == []


def test_what_is_upserted_is_read_back_in_the_schemas_order(table: LakeTable) -> None:
    rows = stored_bars()
    done = table.upsert([rows], commit_key="a")
    assert (done.inserted, done.unchanged, done.replaced) == (60, 0, 0)
    assert done.version == table.version()
    assert_frame_equal(table.read(), rows)


def test_many_instruments_are_one_commit_sorted_by_partition(table: LakeTable) -> None:
    names = ["SOLUSDT", "BTCUSDT", "ETHUSDT"]
    first = table.upsert((stored_bars(name) for name in names), commit_key="a").version
    assert table.version() == first
    assert_frame_equal(table.read(), pl.concat(stored_bars(name) for name in sorted(names)))


def test_equal_rows_are_unchanged_and_nothing_is_written(table: LakeTable) -> None:
    table.upsert([stored_bars()], commit_key="a")
    before, version = files(table), table.version()
    done = table.upsert([stored_bars(minutes=20)], commit_key="b")
    assert (done.inserted, done.unchanged, done.replaced) == (0, 20, 0)
    assert (files(table), table.version()) == (before, version)


def test_an_overlap_appends_only_what_is_new(table: LakeTable) -> None:
    table.upsert([stored_bars(minutes=60)], commit_key="a")
    before = files(table)
    done = table.upsert([stored_bars(minutes=60, start=START + 30 * MINUTE)], commit_key="b")
    assert (done.inserted, done.unchanged) == (30, 30)
    assert before < files(table)
    assert_frame_equal(table.read(), stored_bars(minutes=90))


def test_rows_that_differ_replace_and_only_touched_files_are_written_again(table: LakeTable) -> None:
    table.upsert([stored_bars(minutes=60)], commit_key="a")
    table.upsert([stored_bars(minutes=60, start=START + 60 * MINUTE)], commit_key="b")
    first_file = table._log.newest().files[("binance", "1m", "BTCUSDT")][0]
    changed = stored_bars(minutes=1, start=START + 70 * MINUTE, close_shift=1)
    done = table.upsert([changed], commit_key="c")
    assert (done.inserted, done.unchanged, done.replaced) == (0, 0, 1)
    kept = table._log.newest().files[("binance", "1m", "BTCUSDT")]
    assert len(kept) == 2
    assert kept[0] == first_file
    expected = pl.concat([stored_bars(minutes=120).filter(pl.col("ts") != changed["ts"][0]), changed]).sort(
        "ts"
    )
    assert_frame_equal(table.read(), expected)


def test_only_the_named_values_count_as_a_difference(table: LakeTable) -> None:
    table.upsert([stored_bars()], commit_key="a")
    later = stored_bars(fetched_at=START + timedelta(days=9))
    assert table.upsert([later], commit_key="b", values=["close"]).unchanged == 60
    assert table.upsert([later], commit_key="c").replaced == 60


def test_nan_equals_nan_and_null_equals_null(table: LakeTable) -> None:
    rows = stored_bars(minutes=2).with_columns(close=pl.Series([float("nan"), 1.0]))
    table.upsert([rows], commit_key="a")
    assert table.upsert([rows], commit_key="b").unchanged == 2


def test_a_gap_filled_later_is_read_in_order(table: LakeTable) -> None:
    whole = stored_bars(minutes=60)
    table.upsert([pl.concat([whole[:20], whole[40:]])], commit_key="a")
    table.upsert([whole[20:40]], commit_key="b")
    assert_frame_equal(table.read(), whole)
    changed = stored_bars(minutes=60, close_shift=1)
    assert table.upsert([changed], commit_key="c").replaced == 60
    assert_frame_equal(table.read(), changed)


def test_frames_of_one_partition_may_follow_one_another_in_a_commit(table: LakeTable) -> None:
    parts = [stored_bars(minutes=60), stored_bars(minutes=60, start=START + 30 * MINUTE, close_shift=1)]
    done = table.upsert(parts, commit_key="a")
    assert (done.inserted, done.replaced) == (90, 30)
    assert_frame_equal(table.read(), pl.concat([stored_bars(minutes=30), parts[1]]))
    assert table.count() == 90


def test_the_same_commit_key_again_changes_nothing_and_reports_the_same(table: LakeTable) -> None:
    first = table.upsert([stored_bars()], commit_key="a")
    again = table.upsert([stored_bars(close_shift=5)], commit_key="a")
    assert again.repeated
    assert (again.version, again.inserted) == (first.version, first.inserted)
    assert_frame_equal(table.read(), stored_bars())


def test_another_process_knows_the_commit_key(table: LakeTable, tmp_path: Path) -> None:
    table.upsert([stored_bars()], commit_key="a")
    elsewhere = Lake(str(tmp_path / "lake")).table("bars", BARS)
    assert elsewhere.upsert([stored_bars(close_shift=5)], commit_key="a").repeated


def test_a_reader_sees_what_another_wrote_after_it_opened_the_table(table: LakeTable, tmp_path: Path) -> None:
    table.upsert([stored_bars()], commit_key="a")
    Lake(str(tmp_path / "lake")).table("bars", BARS).upsert([stored_bars("ETHUSDT")], commit_key="b")
    assert table.read(instruments=["ETHUSDT"]).height == 60


def test_reads_are_bounded_by_instrument_time_and_columns(table: LakeTable) -> None:
    table.upsert([stored_bars("BTCUSDT"), stored_bars("ETHUSDT")], commit_key="a")
    found = table.read(
        venue="binance",
        instruments=["ETHUSDT"],
        interval="1m",
        start=START + 10 * MINUTE,
        end=START + 20 * MINUTE,
        columns=["close", "instrument", "ts"],
    )
    expected = stored_bars("ETHUSDT")[10:20].select("close", "instrument", "ts")
    assert_frame_equal(found, expected)
    assert table.read(venue="oanda").is_empty()
    assert table.read(columns=["instrument"])["instrument"].value_counts(sort=True)["count"].to_list() == [
        60,
        60,
    ]


def test_an_old_version_is_read_as_it_was(table: LakeTable) -> None:
    first = table.upsert([stored_bars()], commit_key="a").version
    table.upsert([stored_bars(close_shift=1)], commit_key="b")
    assert_frame_equal(table.read(version=first), stored_bars())
    with pytest.raises(NotFound, match=r"expected a version .* was 99"):
        table.read(version=99)


def test_long_series_are_cut_into_files_and_read_as_one(table: LakeTable) -> None:
    rows = stored_bars(minutes=2 * FILE_ROWS + 10)
    table.upsert([rows], commit_key="a")
    sizes = [f.rows for f in table._log.newest().files[("binance", "1m", "BTCUSDT")]]
    assert len(sizes) == 3
    assert max(sizes) - min(sizes) <= 1
    assert_frame_equal(table.read(), rows)


def test_many_small_files_become_one(table: LakeTable) -> None:
    for n in range(30):
        table.upsert([stored_bars(minutes=2, start=START + 2 * n * MINUTE)], commit_key=f"{n}")
    assert len(table._log.newest().files[("binance", "1m", "BTCUSDT")]) <= 24
    assert_frame_equal(table.read(), stored_bars(minutes=60))


def test_small_files_that_interleave_become_sorted_ones(table: LakeTable) -> None:
    whole = stored_bars(minutes=60)
    for n in range(24):
        table.upsert([whole[n : n + 1].vstack(whole[59 - n : 60 - n])], commit_key=f"{n}")
    table.upsert([stored_bars(minutes=1, start=START + 60 * MINUTE)], commit_key="after")
    kept = table._log.newest().files[("binance", "1m", "BTCUSDT")]
    assert len(kept) < 24
    for file in kept:
        assert pl.read_parquet(table.root / file.path)["ts"].is_sorted()
    expected = pl.concat([whole[:24], whole[36:], stored_bars(minutes=1, start=START + 60 * MINUTE)])
    assert_frame_equal(table.read(), expected)


@pytest.mark.parametrize("name", ["BRK B", "EUR/USD", "..", "100%", "ÄÖ", "a=b,c"])
def test_any_name_of_an_instrument_is_a_partition(table: LakeTable, name: str, tmp_path: Path) -> None:
    table.upsert([stored_bars(name)], commit_key="a")
    table.upsert([stored_bars(name, close_shift=1)], commit_key="b")
    elsewhere = Lake(str(tmp_path / "lake")).table("bars", BARS)
    assert_frame_equal(elsewhere.read(instruments=[name]), stored_bars(name, close_shift=1))
    assert all(p.is_relative_to(table.root) for p in (q.resolve() for q in files(table)))


def test_delete_range_removes_exactly_the_range(table: LakeTable) -> None:
    table.upsert([stored_bars("BTCUSDT"), stored_bars("ETHUSDT")], commit_key="a")
    gone = table.delete_range(
        commit_key="b",
        venue="binance",
        instruments=["BTCUSDT"],
        start=START + 10 * MINUTE,
        end=START + 20 * MINUTE,
    )
    assert gone == 10
    rest = stored_bars("BTCUSDT")
    assert_frame_equal(table.read(instruments=["BTCUSDT"]), pl.concat([rest[:10], rest[20:]]))
    assert table.read(instruments=["ETHUSDT"]).height == 60


def test_deleting_nothing_commits_nothing(table: LakeTable) -> None:
    version = table.upsert([stored_bars()], commit_key="a").version
    assert table.delete_range(commit_key="b", start=START + timedelta(days=9)) == 0
    assert table.version() == version


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: rows.reverse(),
        lambda rows: pl.concat([rows, rows[-1:]]),
        lambda rows: rows.drop("close"),
        lambda rows: rows.with_columns(pl.col("close").cast(pl.Float32)),
        lambda rows: pl.concat([rows, stored_bars("ETHUSDT", start=START + timedelta(days=1))]),
        lambda rows: rows.with_columns(ts=pl.lit(None, BARS["ts"])),
        lambda rows: rows.with_columns(instrument=pl.lit(None, pl.String)),
    ],
    ids=["unsorted", "doubled", "column missing", "wrong type", "two instruments", "no ts", "no instrument"],
)
def test_a_frame_of_another_form_is_refused_and_the_table_stays(table: LakeTable, spoil: object) -> None:
    table.upsert([stored_bars()], commit_key="a")
    before = files(table)
    with pytest.raises(BadData, match="expected"):
        table.upsert([stored_bars("ADAUSDT"), spoil(stored_bars())], commit_key="b")
    assert (files(table), table.count()) == (before, 60)


def test_a_table_of_other_columns_is_named(lake: Lake, tmp_path: Path) -> None:
    lake.table("bars", BARS).upsert([stored_bars()], commit_key="a")
    with pytest.raises(BadData, match=r"different in colour"):
        Lake(str(tmp_path / "lake")).table("bars", BARS | {"colour": pl.String}).read()


def test_a_table_can_be_opened_by_name_alone(lake: Lake) -> None:
    lake.table("bars", BARS).upsert([stored_bars()], commit_key="a")
    assert lake.names() == ["bars"]
    assert_frame_equal(lake.open("bars").read(), stored_bars())
    with pytest.raises(NotFound, match="expected a table"):
        lake.open("labels")


def test_rows_are_counted_without_reading_whole_files(table: LakeTable) -> None:
    table.upsert([stored_bars(), stored_bars("ETHUSDT")], commit_key="a")
    assert table.count_range(instruments=["BTCUSDT"], start=START + 50 * MINUTE) == 10
    assert table.count_range(end=START + 10 * MINUTE) == 20
    assert table.count_range(start=START, end=START + 60 * MINUTE) == 120


def test_an_object_store_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected a local folder"):
        Lake("s3://bucket/lake")


# ------------------------------------------------------------------------------ vacuum and pins


def test_vacuum_deletes_what_no_version_needs_and_leftovers_of_kills(table: LakeTable) -> None:
    table.upsert([stored_bars()], commit_key="a")
    table.upsert([stored_bars(close_shift=1)], commit_key="b")
    orphan = next(iter(files(table))).with_name("orphan.parquet")
    orphan.write_bytes(b"half")
    assert len(table.vacuum(retention=timedelta(0))) == 2
    assert not orphan.exists()
    assert_frame_equal(table.read(), stored_bars(close_shift=1))


def test_vacuum_leaves_young_files_alone(table: LakeTable) -> None:
    table.upsert([stored_bars()], commit_key="a")
    orphan = next(iter(files(table))).with_name("young.parquet")
    orphan.write_bytes(b"of a writer that is about to commit")
    assert table.vacuum(retention=timedelta(hours=1)) == []
    long_ago = time.time() - 7200
    os.utime(orphan, (long_ago, long_ago))
    assert len(table.vacuum(retention=timedelta(hours=1))) == 1


def test_a_pinned_version_survives_vacuum_until_it_is_unpinned(table: LakeTable) -> None:
    first = table.upsert([stored_bars()], commit_key="a").version
    table.upsert([stored_bars(close_shift=1)], commit_key="b")
    table.pin(first, "run/1")
    table.pin(first, "run 2")
    assert table.pinned() == {first: ["run 2", "run/1"]}
    table.vacuum(retention=timedelta(0))
    table.unpin("run/1")
    table.vacuum(retention=timedelta(0))
    assert_frame_equal(table.read(version=first), stored_bars())
    table.unpin("run 2")
    assert len(table.vacuum(retention=timedelta(0))) == 1
    with pytest.raises(BadData, match=r"cannot read|was nothing"):
        Lake(str(table.root.parent)).table("bars", BARS).read(version=first)


def test_a_lake_is_vacuumed_table_by_table_and_keeps_what_is_pinned(lake: Lake) -> None:
    assert lake.vacuum(retention=timedelta(0)) == {}
    tables = [lake.table(name, BARS) for name in ("bars", "other", "untouched")]
    for table in tables:
        first = table.upsert([stored_bars()], commit_key="a").version
    for table in tables[:2]:
        table.upsert([stored_bars(close_shift=1)], commit_key="b")
    tables[1].pin(first, "run")
    deleted = lake.vacuum(retention=timedelta(0))
    assert {name: len(files) for name, files in deleted.items()} == {"bars": 1}
    assert_frame_equal(tables[1].read(version=first), stored_bars())
    versions = [table.version() for table in tables]
    assert lake.vacuum(retention=timedelta(0)) == {}
    assert [table.version() for table in tables] == versions
    assert_frame_equal(lake.table("bars", BARS).read(), stored_bars(close_shift=1))
    assert tables[2].version() == first


def test_unpinning_what_is_not_pinned_is_fine(table: LakeTable) -> None:
    table.unpin("nobody")


# ------------------------------------------------------------------------------ damage, trouble


def fresh(table: LakeTable) -> LakeTable:
    """The table as another process would open it: what a process has verified stays verified."""
    copy = table.root.parent.with_name(f"moved-{time.monotonic_ns()}")
    table.root.parent.rename(copy)
    return Lake(str(copy)).table("bars", BARS)


@pytest.mark.parametrize("position", [0, 200, 1500, -3])
def test_a_flipped_byte_in_a_data_file_is_found_and_the_file_named(table: LakeTable, position: int) -> None:
    table.upsert([stored_bars(minutes=500)], commit_key="a")
    (path,) = files(table)
    content = bytearray(path.read_bytes())
    content[position] ^= 0x01
    path.write_bytes(content)
    reopened = fresh(table)
    with pytest.raises(BadData, match=path.name):
        reopened.read()
    with pytest.raises(BadData, match=path.name):
        reopened.upsert([stored_bars(close_shift=1)], commit_key="b")
    assert [Path(name).name for name in reopened.damaged()] == [path.name]


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_cut_or_missing_data_file_is_named(table: LakeTable, damage: str) -> None:
    table.upsert([stored_bars(minutes=500)], commit_key="a")
    (path,) = files(table)
    path.write_bytes(path.read_bytes()[:100]) if damage == "cut" else path.unlink()
    reopened = fresh(table)
    with pytest.raises(BadData, match=path.name):
        reopened.read()
    assert len(reopened.damaged()) == 1


def test_a_damaged_log_is_one_line_that_names_the_table(table: LakeTable) -> None:
    table.upsert([stored_bars()], commit_key="a")
    for entry in (table.root / "_delta_log").glob("*.json"):
        entry.write_text("{not json")
    with pytest.raises(BadData, match=str(table.root)) as caught:
        Lake(str(table.root.parent)).table("bars", BARS).read()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("trouble", "said"), TROUBLES)
def test_storage_trouble_is_one_line_and_leaves_the_table(table: LakeTable, trouble: str, said: str) -> None:
    table.upsert([stored_bars()], commit_key="a")
    before = files(table)
    with in_trouble(trouble, table.root), pytest.raises(Rejected, match=said) as caught:
        table.upsert([stored_bars("ETHUSDT")], commit_key="b")
    assert str(table.root) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (files(table), table.count()) == (before, 60)


def test_a_log_that_cannot_be_written_is_one_line_and_leaves_the_table(table: LakeTable) -> None:
    table.upsert([stored_bars(), stored_bars("ETHUSDT")], commit_key="a")
    log = table.root / "_delta_log"
    for folder in (p for p in table.root.rglob("*") if p.is_dir() and p != log):
        folder.chmod(0o777)
    with in_trouble("read-only", log), pytest.raises(Rejected, match="read-only") as caught:
        table.upsert([stored_bars("ETHUSDT", close_shift=1)], commit_key="b")
    assert "\n" not in str(caught.value)
    assert_frame_equal(table.read(instruments=["ETHUSDT"]), stored_bars("ETHUSDT"))


def test_frames_that_can_be_iterated_once_are_enough_when_nobody_interferes(table: LakeTable) -> None:
    def frames() -> Iterator[pl.DataFrame]:
        yield stored_bars()

    assert table.upsert(frames(), commit_key="a").inserted == 60


# ------------------------------------------------------------------------------ other writers


class Interrupted:
    """Frames between which, the first time, another process writes to the table."""

    def __init__(self, table: LakeTable, other: pl.DataFrame) -> None:
        self._other = [Lake(str(table.root.parent)).table("bars", BARS), other]
        self.times = 0

    def __iter__(self) -> Iterator[pl.DataFrame]:
        self.times += 1
        yield stored_bars(minutes=30)
        if self.times == 1:
            self._other[0].upsert([self._other[1]], commit_key="other")


def test_a_write_that_others_got_in_before_is_planned_again(table: LakeTable) -> None:
    table.upsert([stored_bars(minutes=10)], commit_key="a")
    frames = Interrupted(table, stored_bars(minutes=40))
    done = table.upsert(frames, commit_key="b")
    assert (frames.times, done.inserted, done.unchanged) == (2, 0, 30)
    assert_frame_equal(table.read(), stored_bars(minutes=40))


def test_a_write_to_another_partition_meanwhile_is_no_conflict(table: LakeTable) -> None:
    frames = Interrupted(table, stored_bars("ETHUSDT"))
    assert table.upsert(frames, commit_key="b").inserted == 30
    assert frames.times == 1
    assert table.count() == 90


def test_the_same_commit_by_another_meanwhile_is_not_made_twice(table: LakeTable) -> None:
    class Same(Interrupted):
        def __iter__(self) -> Iterator[pl.DataFrame]:
            self.times += 1
            yield stored_bars(minutes=30)
            self._other[0].upsert([stored_bars(minutes=30)], commit_key="b")

    done = table.upsert(Same(table, stored_bars()), commit_key="b")
    assert done.repeated
    assert_frame_equal(table.read(), stored_bars(minutes=30))
    assert table.damaged() == {}


def test_frames_that_can_be_read_once_only_ask_for_another_run_after_a_conflict(table: LakeTable) -> None:
    frames = iter(Interrupted(table, stored_bars(minutes=40)))
    with pytest.raises(Unreachable, match="run again"):
        table.upsert(frames, commit_key="b")
    assert_frame_equal(table.read(), stored_bars(minutes=40))
    assert len(files(table)) == 1


def test_the_files_of_a_commit_are_kept_when_only_what_follows_it_fails(
    table: LakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.upsert([stored_bars(minutes=10)], commit_key="a")
    monkeypatch.setattr(DeltaLog, "commit", commit_and_fail)
    with pytest.raises(KeyboardInterrupt):
        table.upsert([stored_bars(minutes=20)], commit_key="b")
    monkeypatch.undo()
    assert_frame_equal(table.read(), stored_bars(minutes=20))
    assert table.upsert([stored_bars(minutes=20)], commit_key="b").repeated


commit = DeltaLog.commit


def commit_and_fail(*args: object, **kwargs: object) -> int:
    commit(*args, **kwargs)
    raise KeyboardInterrupt


def commit_and_report_a_conflict(*args: object, **kwargs: object) -> int:
    commit(*args, **kwargs)
    raise CommitConflict


def test_a_commit_that_was_made_though_it_seemed_to_fail_is_kept_and_known(
    table: LakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.upsert([stored_bars(minutes=10)], commit_key="a")
    monkeypatch.setattr(DeltaLog, "commit", commit_and_report_a_conflict)
    assert table.upsert([stored_bars(minutes=20)], commit_key="b").repeated
    assert_frame_equal(table.read(), stored_bars(minutes=20))
