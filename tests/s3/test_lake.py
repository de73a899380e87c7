"""Tables in a bucket of the local AWS: as local ones, and when S3 does not do its part."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from autotrader.adapters.file_archive import FileArchive
from autotrader.adapters.s3_bucket import S3Bucket
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake, LakeTable
from autotrader.data.places import ObjectPath, delete_folder, files_in, write_whole
from autotrader.data.schemas import BARS, KEY
from autotrader.domain.errors import (
    BadData,
    Refused,
    Unreachable,
)
from tests.fakes.holds import InMemoryHolds
from tests.s3.buckets import WRONG, in_bucket, new_bucket
from tests.services import free_port, set_faults
from tests.unit.data.frames import FETCHED, MINUTE, START, page, stored_bars
from tests.unit.data.kills import finished, finished_in_all, folders_and_lines, killed_at_lines

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

KILLS = int(os.environ.get("KILLS", "8"))  # how many moments, spread over the whole of a load


@pytest.fixture
def table(root: ObjectPath) -> LakeTable:
    return Lake(root).table("bars", BARS)


def again(table: LakeTable) -> LakeTable:
    """The table as another process opens it."""
    place = table.root
    assert isinstance(place, ObjectPath)
    bucket = S3Bucket(place.bucket._settings, place.bucket.name)
    return Lake(ObjectPath(bucket, place.key).parent).table("bars", BARS)


# ------------------------------------------------------------------------------ tables


def test_a_table_of_a_bucket_does_what_a_local_one_does(table: LakeTable, root: ObjectPath) -> None:
    names = ["BTCUSDT", "BRK B", "EUR/USD", "100%", "ÄÖ", "a=b,c"]
    assert (table.version(), table.read().height) == (None, 0)
    first = table.upsert([stored_bars(name) for name in names], commit_key="a")
    assert table.upsert([stored_bars("BTCUSDT")], commit_key="a").repeated
    table.pin(first.version, "run/1")
    table.upsert([stored_bars(name, close_shift=1) for name in names], commit_key="b")
    other = again(table)
    assert other.pinned() == {first.version: ["run/1"]}
    assert other.vacuum(retention=timedelta(0)) == []
    assert_frame_equal(other.read(version=first.version), pl.concat(map(stored_bars, sorted(names))))
    other.unpin("run/1")
    assert len(other.vacuum(retention=timedelta(0))) == len(names)
    assert other.vacuum(retention=timedelta(0)) == []
    reopened = again(table)
    expected = pl.concat(stored_bars(name, close_shift=1) for name in sorted(names))
    assert_frame_equal(reopened.read(), expected)
    assert reopened.damaged() == {}
    assert reopened.delete_range(commit_key="c", instruments=["BRK B"]) == 60
    assert Lake(root).names() == ["bars"]
    assert Lake(root).open("bars").count() == 60 * (len(names) - 1)


@pytest.mark.parametrize("damage", ["cut", "gone", "flipped"])
def test_a_damaged_data_object_is_named(table: LakeTable, root: ObjectPath, damage: str) -> None:
    table.upsert([stored_bars()], commit_key="a")
    (key,) = [o.key for o in root.bucket.below(root.prefix) if o.key.endswith(".parquet")]
    content = root.bucket.read(key)
    root.bucket.delete([key])
    if damage != "gone":
        root.bucket.write(key, content[:-9] if damage == "cut" else b"X" + content[1:])
    with pytest.raises(BadData, match=key):
        table.read()
    assert len(table.damaged()) == 1


@pytest.mark.parametrize(("code", "status", "kind"), WRONG)
@pytest.mark.parametrize("action", ["GetBucket", "PutObject"])
def test_trouble_with_a_table_is_one_line_of_the_error_tree(
    table: LakeTable, url: str, code: str, status: int, kind: type[Exception], action: str
) -> None:
    table.upsert([stored_bars()], commit_key="a")
    for passing in (0, 1) if action == "PutObject" else (0,):  # a data file; the entry of the log
        fault = {"action": action, "kind": "error", "code": code, "status": status}
        set_faults(url, fault | {"times": 99, "after": passing})
        with pytest.raises(kind, match=rf"cannot .* s3://autotrader-.*AWS said {code}") as caught:
            again(table).upsert([stored_bars("ETHUSDT")], commit_key=f"b{passing}")
        assert "\n" not in str(caught.value)
        assert type(caught.value) is kind
    set_faults(url)
    assert again(table).count() == 60
    assert again(table).upsert([stored_bars("ETHUSDT")], commit_key="c").inserted == 60


@pytest.mark.parametrize("action", ["GetBucket", "GetObject", "PutObject"])
def test_a_passing_trouble_is_not_noticed(table: LakeTable, url: str, action: str) -> None:
    table.upsert([stored_bars()], commit_key="a")
    set_faults(url, {"action": action, "kind": "error", "code": "SlowDown", "status": 503})
    assert again(table).upsert([stored_bars("ETHUSDT")], commit_key="b").inserted == 60


def test_a_store_that_is_not_there_is_unreachable() -> None:
    place = in_bucket(f"http://127.0.0.1:{free_port()}", "any", attempts=1, timeout_seconds=1)
    with pytest.raises(Unreachable, match="did not answer"):
        Lake(place).table("bars", BARS).version()
    with pytest.raises(Unreachable, match="did not answer"):
        list(FileArchive(place).entries())


def test_a_slow_store_is_given_up_after_the_settings_patience(root: ObjectPath, url: str) -> None:
    slow = in_bucket(url, root.bucket.name, attempts=1, timeout_seconds=0.3)
    for action in ("GetBucket", "GetObject"):
        set_faults(url, {"action": action, "kind": "hang", "seconds": 1, "status": 500, "times": 3})
        with pytest.raises(Unreachable, match="did not answer"):
            Lake(slow).table("bars", BARS).version()
    set_faults(url, {"action": "PutObject", "kind": "hang", "seconds": 1, "status": 500})
    with pytest.raises(Unreachable, match="did not answer"):
        FileArchive(slow).store(page(stored_bars()))


def test_a_commit_whose_answer_was_lost_is_found_made(root: ObjectPath, url: str) -> None:
    table = Lake(in_bucket(url, root.bucket.name, attempts=1)).table("bars", BARS)
    table.upsert([stored_bars()], commit_key="a")
    set_faults(url, {"action": "PutObject", "kind": "lost", "after": 1})
    with pytest.raises(Unreachable, match="did not answer"):
        table.upsert([stored_bars("ETHUSDT")], commit_key="b")
    assert table.upsert([stored_bars("ETHUSDT")], commit_key="b").repeated
    assert table.count() == 120
    assert table.damaged() == {}


def test_a_commit_that_another_upload_disturbs_is_tried_again(table: LakeTable, url: str) -> None:
    table.upsert([stored_bars()], commit_key="a")
    conflict = {"action": "PutObject", "kind": "error", "code": "ConditionalRequestConflict", "status": 409}
    set_faults(url, conflict | {"after": 1})
    assert table.upsert([stored_bars("ETHUSDT")], commit_key="b").inserted == 60
    assert table.version() == 2


def test_a_store_that_overwrites_in_spite_of_the_condition_gets_no_table(root: ObjectPath) -> None:
    class Overwriting(S3Bucket):
        def write_new(self, key: str, content: bytes) -> bool:
            self.write(key, content)
            return True

    careless = ObjectPath(Overwriting(root.bucket._settings, root.bucket.name), root.key)
    with pytest.raises(Refused, match="heeds If-None-Match"):
        Lake(careless).table("bars", BARS).upsert([stored_bars()], commit_key="a")
    assert list(root.bucket.below("")) == []


def test_renewed_credentials_are_used_by_an_open_table(
    table: LakeTable, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.upsert([stored_bars()], commit_key="a")
    before = table._log._delta
    assert table.count() == 60
    assert table._log._delta is before
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "renewed")
    table.root.bucket._credentials = None
    assert table.count() == 60
    assert table._log._delta is not before
    assert table._log._options["access_key_id"] == "renewed"


def test_more_than_a_page_of_names_is_listed_and_deleted(root: ObjectPath) -> None:
    names = [f"{n:05}" for n in range(1050)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: write_whole(root / name, b""), names))
    assert [p.name for p in files_in(root)] == names
    delete_folder(root)
    assert files_in(root) == []


# ------------------------------------------------------------------------------ kills, other writers


def store_in(folder: Path) -> BarStore:
    """The tables that the file in the folder names: work of other processes is told a folder alone."""
    url, name = (folder / "bucket").read_text().split()
    place = in_bucket(url, name, "lake")
    return BarStore(Lake(place), InMemoryHolds())


def place_in(folder: Path, url: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "bucket").write_text(f"{url} {new_bucket(url)}")
    return folder


def load_and_restate(folder: Path) -> None:
    """Two loads of two instruments: the second restates some bars and brings new ones."""
    bars, second = store_in(folder), FETCHED + timedelta(days=1)
    names = ["BTCUSDT", "ETHUSDT"]
    bars.upsert([stored_bars(n, seen_at=FETCHED) for n in names], commit_key="first")
    span = {"minutes": 60, "start": START + 30 * MINUTE}
    again = [stored_bars(n, **span, close_shift=1, fetched_at=second, seen_at=second) for n in names]
    bars.upsert(again, commit_key="second")


def write_odd(folder: Path) -> None:
    _write_overlapping(folder, "odd")


def write_even(folder: Path) -> None:
    _write_overlapping(folder, "even")


def _write_overlapping(folder: Path, who: str) -> None:
    bars = store_in(folder)
    for n in range(8):
        span = {"minutes": 20, "start": START + 10 * n * MINUTE}
        bars.upsert([stored_bars(name, **span) for name in ("BTCUSDT", "ETHUSDT")], commit_key=f"{who}-{n}")


def tables_in(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    bars = store_in(folder)
    return bars.bars.read(), bars.history.read()


def test_killed_at_any_line_and_run_again_the_tables_are_the_same(tmp_path: Path, url: str) -> None:
    reference = place_in(tmp_path / "reference", url)
    load_and_restate(reference)
    expected = tables_in(reference)
    assert [t.height for t in expected] == [180, 60]
    place_in(tmp_path / "counted", url)
    for part in range(KILLS):
        place_in(tmp_path / f"killed-{part}", url)
    moments = folders_and_lines(load_and_restate, tmp_path, count=KILLS, seed=20240229)
    assert killed_at_lines(load_and_restate, moments)
    for folder in moments:
        assert not tables_in(folder)[0].select(KEY).is_duplicated().any()
    assert finished_in_all(load_and_restate, moments)
    for folder in moments:
        bars = store_in(folder).bars
        for _ in ("as it is", "vacuumed"):
            for found, wanted in zip(tables_in(folder), expected, strict=True):
                assert_frame_equal(found, wanted)
            assert bars.damaged() == {}
            bars.vacuum(retention=timedelta(0))


def test_two_writers_of_the_same_keys_at_once_double_and_lose_none(tmp_path: Path, url: str) -> None:
    folder = place_in(tmp_path / "both", url)
    assert finished((write_odd, folder), (write_even, folder))
    standing, past = tables_in(folder)
    assert_frame_equal(standing, pl.concat(stored_bars(n, minutes=90) for n in ("BTCUSDT", "ETHUSDT")))
    assert past.is_empty()


def test_the_same_load_in_two_processes_at_once_is_done_once(tmp_path: Path, url: str) -> None:
    folder, alone = place_in(tmp_path / "both", url), place_in(tmp_path / "alone", url)
    assert finished((load_and_restate, folder), (load_and_restate, folder), (load_and_restate, alone))
    for found, wanted in zip(tables_in(folder), tables_in(alone), strict=True):
        assert_frame_equal(found, wanted)
