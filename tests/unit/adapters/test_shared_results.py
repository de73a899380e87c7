"""Results of training steps on machines that share a bucket and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autotrader.data.places import ObjectPath, write_whole
from autotrader.domain.errors import BadData, NotFound
from autotrader.training.results import LIST_FILE, Results
from autotrader.training.retention import GRACE, clean, clean_copies, record_run
from tests.s3.buckets import in_bucket, new_bucket, with_credentials
from tests.services import local_aws

NAME = "dataset/key"


@dataclass(frozen=True)
class Made:
    """A step's result."""

    folder: str
    path: str
    by: str


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with local_aws(tmp_path_factory.mktemp("aws")) as url:
        yield url


@pytest.fixture
def place(aws: str, monkeypatch: pytest.MonkeyPatch) -> ObjectPath:
    with_credentials(monkeypatch)
    return in_bucket(aws, new_bucket(aws), "lake/_training")


@pytest.fixture
def one(tmp_path: Path, place: ObjectPath) -> Results:
    return Results(tmp_path / "one", place)


@pytest.fixture
def other(tmp_path: Path, place: ObjectPath) -> Results:
    return Results(tmp_path / "other", place)


def make(results: Results, name: str = NAME, *, by: str = "one") -> None:
    with results.published(name) as staging:
        (staging / "deep").mkdir()
        (staging / "deep" / "rows.npy").write_bytes(by.encode())
        folder = results.folder / name
        results.write(staging, Made(str(folder), str(folder / "deep" / "rows.npy"), by))


def keys(place: ObjectPath) -> set[str]:
    return {found.key.removeprefix(place.prefix) for found in place.bucket.below(place.prefix)}


def test_what_one_machine_made_another_finds_below_its_own_folder(one: Results, other: Results) -> None:
    assert other.stored(NAME, Made) is None
    make(one)
    told = one.uri(one.read(NAME, Made).folder)
    found = other.read(other.name(told), Made)
    assert told == f"{one.place}/{NAME}"
    assert Path(found.path).read_bytes() == b"one"
    assert Path(found.path).is_relative_to(other.folder)
    assert other.stored(NAME, Made) == found
    assert {p.name for p in (other.folder / "dataset").iterdir()} == {"key"}


def test_of_two_that_make_it_at_once_the_first_is_what_both_read(one: Results, other: Results) -> None:
    with one.published(NAME) as staging:
        make(other, by="other")
        (staging / "rows.npy").write_bytes(b"late")
        one.write(staging, Made("", "", "one"))
    assert one.read(NAME, Made).by == other.read(NAME, Made).by == "other"
    assert Path(one.read(NAME, Made).path).read_bytes() == b"other"
    assert isinstance(one.place, ObjectPath)
    assert len(keys(one.place)) == 4  # two files, their list, and the mark of use


def test_a_copy_of_what_was_made_anew_is_brought_again(one: Results, other: Results) -> None:
    make(one)
    other.read(NAME, Made)
    assert isinstance(one.place, ObjectPath)
    one.place.bucket.delete([found.key for found in one.place.bucket.below(one.place.prefix)])
    assert one.stored(NAME, Made) is None
    make(one, by="again")
    assert other.read(NAME, Made).by == "again"
    assert one.read(NAME, Made).by == "again"


def test_files_without_a_list_are_no_result(one: Results, other: Results, place: ObjectPath) -> None:
    make(one)
    (place / NAME / LIST_FILE).unlink()
    assert other.stored(NAME, Made) is None
    make(other, by="other")
    assert one.read(NAME, Made).by == "other"


def test_a_file_that_was_changed_or_is_gone_is_not_used(
    one: Results, other: Results, place: ObjectPath
) -> None:
    make(one)
    (key,) = (k for k in keys(place) if k.endswith("rows.npy"))
    write_whole(place / key, b"changed")
    with pytest.raises(BadData, match=r"expected s3://.*/deep/rows.npy with sha256"):
        other.read(NAME, Made)
    (place / key).unlink()
    with pytest.raises(NotFound, match="start the run again"):
        other.read(NAME, Made)
    assert list((other.folder / "dataset").iterdir()) == []


def test_a_result_told_where_results_lay_elsewhere_is_one_line(one: Results) -> None:
    with pytest.raises(NotFound, match=r"expected a result below s3://.*, was /home/x/training/dataset/key"):
        one.name("/home/x/training/dataset/key")


def test_what_no_run_needs_goes_from_the_bucket_and_copies_that_nobody_used_from_the_machine(
    one: Results, other: Results, place: ObjectPath
) -> None:
    now = datetime.now(UTC)
    for name in ("dataset/kept", "dataset/old", "folds/k/fold-000"):
        make(one, name)
        other.read(name, Made)
    write_whole(place / "trials" / "t" / "trial-1.json", b"{}")
    record_run(one, "old run", ["dataset/old"], finished_at=now - timedelta(days=9))
    record_run(one, "new run", ["dataset/kept"], finished_at=now)
    assert clean(one, keep_runs=1, live=(), now=now) == ()
    later = now + GRACE + timedelta(hours=1)
    assert set(clean(one, keep_runs=1, live=(), now=later)) == {"dataset/old", "folds/k", "trials/t"}
    assert {key.rpartition("/")[0].split("/")[1] for key in keys(place) if key.startswith("d")} == {"kept"}
    assert sum(key.startswith("runs/") for key in keys(place)) == 1
    assert not (one.folder / "dataset" / "kept").exists()
    assert (other.folder / "dataset" / "old").exists()
    clean_copies(other, now=later)
    assert not any(other.folder.glob("*/*"))
    assert other.read("dataset/kept", Made).by == "one"
