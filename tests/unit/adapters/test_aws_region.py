"""A region as a failover sees it: its copies of secrets can be written."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest

from autotrader.adapters.aws_region import Region
from autotrader.config.aws_names import AwsNames
from autotrader.config.settings import AwsSettings
from tests.services import AWS_ENVIRONMENT, local_aws

NAMES = AwsNames("production", "mine")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, local_aws(tmp_path_factory.mktemp("aws")) as url:
        for name, value in AWS_ENVIRONMENT.items():
            patch.setenv(name, value)
        yield url


def test_a_copy_of_a_secret_is_made_a_secret_of_its_own_and_written_as_often_as_wanted(url: str) -> None:
    name = NAMES.secret("database-url")
    home = boto3.client("secretsmanager", region_name="eu-west-1", endpoint_url=url)
    home.create_secret(Name=name, SecretString="old", AddReplicaRegions=[{"Region": "eu-central-1"}])
    region = Region(AwsSettings(region="eu-west-1", endpoint_url=url), NAMES, "eu-central-1")
    assert region.read_secret(name) == "old"
    for value in ("new", "newer"):
        region.write_secret(name, value)
        assert region.read_secret(name) == value
    assert home.get_secret_value(SecretId=name)["SecretString"] == "old"


def test_a_secret_of_the_region_itself_is_written(url: str) -> None:
    name = NAMES.secret("ledger-url")
    boto3.client("secretsmanager", region_name="eu-west-1", endpoint_url=url).create_secret(
        Name=name, SecretString="old"
    )
    region = Region(AwsSettings(region="eu-west-1", endpoint_url=url), NAMES, "eu-west-1")
    region.write_secret(name, "new")
    assert region.read_secret(name) == "new"
