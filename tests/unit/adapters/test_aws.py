"""What AWS says, told in the terms of the error tree; against the local AWS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autotrader.adapters.aws import aws_errors, client
from autotrader.config.settings import AwsSettings
from autotrader.domain.errors import ConfigurationError, NotFound, Rejected, Throttled, Unreachable
from tests.services import AWS_ENVIRONMENT, free_port, local_aws, set_faults


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with local_aws(tmp_path_factory.mktemp("aws")) as url:
        yield url


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in AWS_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def settings(url: str, *, timeout_seconds: float = 10) -> AwsSettings:
    return AwsSettings(region="eu-west-1", endpoint_url=url, attempts=1, timeout_seconds=timeout_seconds)


def test_a_call_that_succeeds_is_carried_out(url: str) -> None:
    set_faults(url)
    ecs = client(settings(url), "ecs")
    with aws_errors("make a cluster"):
        assert ecs.create_cluster(clusterName="autotrader-dev")["cluster"]["status"] == "ACTIVE"
    assert len(ecs.list_clusters()["clusterArns"]) == 1


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("ExpiredTokenException", 400, ConfigurationError),
        ("UnrecognizedClientException", 400, ConfigurationError),
        ("ThrottlingException", 400, Throttled),
        ("ServerException", 500, Unreachable),
        ("AccessDeniedException", 400, Rejected),
        ("ClusterNotFoundException", 400, NotFound),
    ],
)
def test_an_error_code_says_what_the_caller_must_do(
    url: str, code: str, status: int, expected: type[Exception]
) -> None:
    set_faults(url, {"action": "DescribeClusters", "kind": "error", "code": code, "status": status})
    with (
        pytest.raises(expected, match=f"cannot look at the cluster.*{code}"),
        aws_errors("look at the cluster"),
    ):
        client(settings(url), "ecs").describe_clusters(clusters=["autotrader-dev"])


def test_a_call_that_hangs_or_whose_answer_is_lost_may_be_tried_again(url: str) -> None:
    ecs = client(settings(url, timeout_seconds=1), "ecs")
    for kind in ("hang", "lost"):
        set_faults(url, {"action": "DescribeClusters", "kind": kind, "seconds": 3})
        with pytest.raises(Unreachable, match="AWS did not answer"), aws_errors("look"):
            ecs.describe_clusters(clusters=["autotrader-dev"])


def test_nothing_there_to_answer_may_be_tried_again() -> None:
    with pytest.raises(Unreachable, match="AWS did not answer"), aws_errors("look"):
        client(settings(f"http://127.0.0.1:{free_port()}"), "ecs").list_clusters()


def test_credentials_that_are_missing_are_a_persons_to_mend(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigurationError, match="expected AWS credentials"), aws_errors("look"):
        client(settings(url), "ecs").list_clusters()


def test_a_region_must_be_set(url: str) -> None:
    with pytest.raises(ConfigurationError, match="AUTOTRADER_AWS__REGION: expected a region"):
        client(AwsSettings(endpoint_url=url), "ecs")


def test_an_object_that_is_not_there_is_not_found(url: str) -> None:
    set_faults(url)
    s3 = client(settings(url), "s3")
    s3.create_bucket(Bucket="a-bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    with pytest.raises(NotFound), aws_errors("read"):
        s3.get_object(Bucket="a-bucket", Key="missing")
    with pytest.raises(NotFound), aws_errors("read"):
        s3.head_object(Bucket="a-bucket", Key="missing")
