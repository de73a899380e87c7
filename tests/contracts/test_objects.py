"""What every place of objects promises; a folder, and a bucket of the local AWS."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from autotrader.adapters.aws import client
from autotrader.adapters.objects import open_objects
from autotrader.config.settings import AwsSettings
from autotrader.domain.errors import BadData, ConfigurationError, NotFound, Unreachable
from autotrader.ports.objects import ObjectStore
from tests.services import AWS_ENVIRONMENT, local_aws, set_faults


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsSettings]:
    with local_aws(tmp_path_factory.mktemp("aws")) as url:
        yield AwsSettings(region="eu-west-1", endpoint_url=url, attempts=1, timeout_seconds=60)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in AWS_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=["folder", "bucket", "bucket and prefix"])
def store(request: pytest.FixtureRequest, tmp_path: Path, aws: AwsSettings) -> ObjectStore:
    if request.param == "folder":
        return open_objects(str(tmp_path / "store"), aws)
    bucket = f"b-{uuid4().hex}"
    where = {"LocationConstraint": "eu-west-1"}
    client(aws, "s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    return open_objects(f"s3://{bucket}" + ("/a/b" if "prefix" in request.param else ""), aws)


def test_what_was_put_comes_back(store: ObjectStore, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(bytes(range(256)) * 40_000)  # more than one part
    store.put("x/y", big)
    store.fetch("x/y", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == big.read_bytes()
    store.write("x/z", b"small")
    assert store.read("x/z") == b"small"


def test_objects_are_listed_by_prefix_with_size_and_a_stamp_that_changes(store: ObjectStore) -> None:
    for key in ("a/1", "a/2", "ab", "b/1"):
        store.write(key, key.encode())
    assert {(found.key, found.size) for found in store.list("a/")} == {("a/1", 3), ("a/2", 3)}
    assert {found.key for found in store.list()} == {"a/1", "a/2", "ab", "b/1"}
    before = store.find("ab")
    store.write("ab", b"AB")
    after = store.find("ab")
    assert before is not None
    assert after is not None
    assert before.stamp != after.stamp


def test_an_empty_place_lists_nothing_and_has_nothing(store: ObjectStore, tmp_path: Path) -> None:
    assert list(store.list()) == []
    assert store.find("a") is None
    store.delete("a")
    for act in (
        lambda: store.read("a"),
        lambda: store.fetch("a", tmp_path / "x"),
        lambda: store.rename("a", "b"),
    ):
        with pytest.raises(NotFound):
            act()


def test_of_many_that_write_a_new_object_one_does(store: ObjectStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(lambda n: store.write_new("k", b"%d" % n), range(4)))
    assert won.count(True) == 1
    assert store.read("k") == b"%d" % won.index(True)
    assert [found.key for found in store.list()] == ["k"]


def test_a_renamed_object_has_the_new_key_alone(store: ObjectStore) -> None:
    store.write("a/1", b"x")
    store.rename("a/1", "b/1")
    assert [found.key for found in store.list()] == ["b/1"]
    assert store.read("b/1") == b"x"


@pytest.mark.parametrize("key", ["../x", "/x", "a/../../x", ""])
def test_no_key_leads_out_of_the_place(store: ObjectStore, key: str) -> None:
    with pytest.raises(BadData, match="expected a key below"):
        store.write(key, b"")


def test_credentials_that_expired_are_a_persons_to_renew(aws: AwsSettings, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    store = open_objects("s3://some-bucket", aws)
    for action, act in (
        ("PutObject", lambda: store.put("k", tmp_path / "f")),
        ("GetBucket", lambda: list(store.list())),
    ):
        set_faults(str(aws.endpoint_url), {"action": action, "kind": "error", "code": "ExpiredToken"})
        with pytest.raises(ConfigurationError, match="renew the credentials"):
            act()
    set_faults(str(aws.endpoint_url))


def test_an_answer_that_is_lost_may_be_asked_for_again(aws: AwsSettings) -> None:
    bucket = f"b-{uuid4().hex}"
    client(aws, "s3").create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    store = open_objects(f"s3://{bucket}", aws)
    set_faults(str(aws.endpoint_url), {"action": "PutObject", "kind": "lost"})
    with pytest.raises(Unreachable):
        store.write("k", b"x")
    store.write("k", b"x")
    assert store.read("k") == b"x"


def test_a_place_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected a folder or s3"):
        open_objects("ftp://x", AwsSettings())
