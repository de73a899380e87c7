"""Clients of AWS, and what its errors mean to a caller."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    TokenRetrievalError,
)
from botocore.loaders import create_loader

from autotrader.config.aws_codes import explained
from autotrader.domain.errors import ConfigurationError, DependencyError, Unreachable

if TYPE_CHECKING:  # the errors are also told where pydantic-settings is not: in Airflow on MWAA
    from autotrader.config.settings import AwsSettings

_DESCRIPTIONS = create_loader()


def client(settings: AwsSettings, service: str, *, region: str | None = None) -> Any:
    """A boto3 client with our patience; credentials come from the default chain.

    Parameters
    ----------
    service : str
        Such as `ecs`.
    region : str or None
        Another than the settings'.

    Raises
    ------
    ConfigurationError
        If no region is set.
    """
    where = region or settings.region
    if where is None:
        raise ConfigurationError("AUTOTRADER_AWS__REGION: expected a region such as eu-west-1, was empty")
    return _session().client(
        service,
        region_name=where,
        endpoint_url=settings.endpoint_url,
        config=Config(
            connect_timeout=settings.timeout_seconds,
            read_timeout=settings.timeout_seconds,
            retries={"total_max_attempts": settings.attempts, "mode": "standard"},
            # Some services put a word before their host, which a stand-in's address does not have.
            inject_host_prefix=settings.endpoint_url is None,
        ),
    )


def _session() -> boto3.session.Session:
    """One of its own, since using one is not thread-safe; descriptions of the services are read once."""
    core = botocore.session.get_session()
    core.register_component("data_loader", _DESCRIPTIONS)
    return boto3.session.Session(botocore_session=core)


@contextlib.contextmanager
def aws_errors(doing: str) -> Iterator[None]:
    """Turn what AWS says into one clear line of the error tree.

    Parameters
    ----------
    doing : str
        Such as `scale service trading-blue`.

    Raises
    ------
    ConfigurationError
        For credentials that are missing, wrong or expired.
    NotFound
        For what AWS says is not there.
    Throttled, Unreachable
        For what may succeed later.
    Rejected
        For everything else that AWS refused.
    """
    try:
        yield
    except ClientError as error:
        raise _explained(doing, error) from error
    except (
        NoCredentialsError,
        PartialCredentialsError,
        CredentialRetrievalError,
        TokenRetrievalError,
    ) as error:
        raise ConfigurationError(f"cannot {doing}: expected AWS credentials, was: {error}") from error
    except (ConnectionError, HTTPClientError) as error:
        raise Unreachable(f"cannot {doing}: AWS did not answer: {error}") from error
    except BotoCoreError as error:
        raise DependencyError(f"cannot {doing}: {error}") from error


def _explained(doing: str, error: ClientError) -> Exception:
    said = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return explained(doing, str(said.get("Code", "")), str(said.get("Message", "")), status)
