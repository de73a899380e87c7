"""A bucket of the local AWS: objects, conditional writes, raw pages, and what goes wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from autotrader.adapters.file_archive import FileArchive
from autotrader.adapters.s3_bucket import S3Bucket
from autotrader.config.settings import AwsSettings
from autotrader.data.lake import Lake
from autotrader.data.places import (
    ObjectPath,
    bring,
    delete_folder,
    files_in,
    folders_in,
    place_of,
    send,
    write_whole,
)
from autotrader.data.schemas import BARS
from autotrader.domain.errors import (
    ConfigurationError,
    NotFound,
    Unreachable,
)
from tests.s3.buckets import WRONG, in_bucket
from tests.services import set_faults
from tests.unit.data.frames import page, stored_bars

# ------------------------------------------------------------------------------ places


def test_a_file_is_written_over_read_and_deleted(root: ObjectPath) -> None:
    file = root / "a" / "b.json"
    with pytest.raises(FileNotFoundError):
        file.read_bytes()
    for content in (b"one", b"two"):
        write_whole(file, content)
    assert (file.exists(), file.read_bytes(), file.name, file.parent) == (True, b"two", "b.json", root / "a")
    assert not (root / "a" / "b").exists()
    file.unlink()
    assert not file.exists()
    file.unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        file.unlink()


def test_folders_and_files_are_told_apart_and_sorted(root: ObjectPath) -> None:
    for name in ("b.gz", "a.gz", "day/x.gz", "day/deep/y.gz", "other/z.gz"):
        write_whole(root / name, b"")
    assert [p.name for p in files_in(root)] == ["a.gz", "b.gz"]
    assert [p.name for p in folders_in(root)] == ["day", "other"]
    assert folders_in(root / "day") == [root / "day" / "deep"]
    assert files_in(root / "da") == []
    delete_folder(root / "day")
    assert [p.name for p in folders_in(root)] == ["other"]


def test_of_several_who_make_an_object_one_is_told_so(root: ObjectPath) -> None:
    key = (root / "one").key
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: root.bucket.write_new(key, b"%d" % n), range(16)))
    assert made.count(True) == 1
    assert (root / "one").read_bytes() == b"%d" % made.index(True)


def test_an_upload_that_another_one_disturbs_is_tried_again(root: ObjectPath, url: str) -> None:
    conflict = {"action": "PutObject", "kind": "error", "code": "ConditionalRequestConflict", "status": 409}
    set_faults(url, conflict)
    assert root.bucket.write_new((root / "one").key, b"")
    set_faults(url, conflict | {"times": 9})
    with pytest.raises(Unreachable, match="ConditionalRequestConflict"):
        root.bucket.write_new((root / "two").key, b"")


def test_who_made_an_object_is_told_so_though_the_first_answer_was_lost(root: ObjectPath, url: str) -> None:
    key = (root / "one").key
    set_faults(url, {"action": "PutObject", "kind": "lost"})
    assert root.bucket.write_new(key, b"mine")
    set_faults(url)
    assert not root.bucket.write_new(key, b"another's")
    assert root.bucket.read(key) == b"mine"


def test_files_come_and_go_whole_whatever_their_size(root: ObjectPath, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(bytes(range(256)) * 40_000)  # more than one part
    for place in (root / "a", tmp_path / "folder" / "a"):
        send(big, place)
        bring(place, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == big.read_bytes()
        with pytest.raises(FileNotFoundError):
            bring(place.parent / "b", tmp_path / "none")


def test_a_bucket_that_is_not_there_is_no_missing_object(url: str, tmp_path: Path) -> None:
    place = in_bucket(url, "nowhere-at-all", "a")
    for work in (place.read_bytes, place.exists, lambda: bring(place, tmp_path / "a")):
        with pytest.raises(NotFound, match="NoSuchBucket"):
            work()


@pytest.mark.parametrize("uri", ["gs://bucket/lake", "s3://", "http://bucket"])
def test_a_uri_of_another_kind_is_one_line(uri: str) -> None:
    with pytest.raises(ConfigurationError, match=f"expected a folder or s3://bucket/prefix, was {uri}"):
        place_of(uri, lambda _: pytest.fail("no bucket is meant"))


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/data/lake", "/data/lake"),
        ("file:///data/lake", "/data/lake"),
        ("s3://b/p/q/", "s3://b/p/q"),
        ("s3://b", "s3://b/"),
    ],
)
def test_a_uri_names_a_folder_or_a_prefix(uri: str, expected: str) -> None:
    assert str(place_of(uri, lambda name: S3Bucket(AwsSettings(region="eu-west-1"), name))) == expected


def test_a_process_without_credentials_is_told_so(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    place = in_bucket(url, "any", "lake")
    with pytest.raises(ConfigurationError, match="expected AWS credentials"):
        place.read_bytes()
    with pytest.raises(ConfigurationError, match="expected AWS credentials"):
        Lake(place).table("bars", BARS).version()


# ------------------------------------------------------------------------------ archive


def test_a_page_that_is_there_is_not_written_again(root: ObjectPath) -> None:
    archive, raw = FileArchive(root), page(stored_bars())
    entry = archive.store(raw)
    (before,) = root.bucket.below(root.prefix)
    assert archive.store(raw) == entry
    assert list(root.bucket.below(root.prefix)) == [before]


@pytest.mark.parametrize(("code", "status", "kind"), WRONG)
def test_trouble_with_the_archive_is_one_line(
    root: ObjectPath, url: str, code: str, status: int, kind: type[Exception]
) -> None:
    archive, raw = FileArchive(root), page(stored_bars())
    entry = archive.store(raw)
    for action, work in {
        "PutObject": lambda: archive.store(raw),
        "GetObject": lambda: archive.load(entry),
        "GetBucket": lambda: list(archive.entries()),
    }.items():
        set_faults(url, {"action": action, "kind": "error", "code": code, "status": status, "times": 9})
        with pytest.raises(kind, match=f"s3://autotrader-.*AWS said {code}") as caught:
            work()
        assert type(caught.value) is kind
