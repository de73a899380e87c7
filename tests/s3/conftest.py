"""A local AWS for each file, that does its part again after every test, and a bucket for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autotrader.data.places import ObjectPath
from tests.s3.buckets import in_bucket, new_bucket, with_credentials
from tests.services import local_aws, set_faults


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with local_aws(tmp_path_factory.mktemp("aws")) as url:
        yield url


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    with_credentials(monkeypatch)


@pytest.fixture
def url(aws: str) -> Iterator[str]:
    yield aws
    set_faults(aws)


@pytest.fixture
def root(url: str) -> ObjectPath:
    return in_bucket(url, new_bucket(url), "some/where")
