"""Buckets of a local AWS for tests."""

from __future__ import annotations

import uuid

import boto3
import pytest

from autotrader.adapters.s3_bucket import S3Bucket
from autotrader.config.settings import AwsSettings
from autotrader.data.places import ObjectPath
from autotrader.domain.errors import ConfigurationError, NotFound, Rejected, Throttled, Unreachable
from tests.services import AWS_ENVIRONMENT

REGION = "eu-west-1"
WRONG = [
    ("AccessDenied", 403, Rejected),
    ("ExpiredToken", 400, ConfigurationError),
    ("SlowDown", 503, Throttled),
    ("InternalError", 500, Unreachable),
    ("NoSuchBucket", 404, NotFound),
]
"""Code and HTTP status of an answer, and the error that it becomes."""


def with_credentials(patch: pytest.MonkeyPatch) -> None:
    """The local AWS takes any credentials; those of the machine must not be found."""
    for name, value in AWS_ENVIRONMENT.items():
        patch.setenv(name, value)


def aws_settings(url: str, *, attempts: int = 2, timeout_seconds: float = 60) -> AwsSettings:
    return AwsSettings(region=REGION, endpoint_url=url, attempts=attempts, timeout_seconds=timeout_seconds)


def new_bucket(url: str) -> str:
    """Name of a bucket that has just been made."""
    name = f"autotrader-{uuid.uuid4().hex[:12]}"
    boto3.client("s3", endpoint_url=url, region_name=REGION).create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    return name


def in_bucket(url: str, name: str, key: str = "", **patience: float) -> ObjectPath:
    """A place below the bucket, through a client of its own."""
    return ObjectPath(S3Bucket(aws_settings(url, **patience), name), key)
