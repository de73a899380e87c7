"""A bucket of S3, or of what speaks its language."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from autotrader.adapters.aws import aws_errors, client
from autotrader.config.settings import AwsSettings
from autotrader.domain.errors import ConfigurationError
from autotrader.files import storage_errors
from autotrader.ports.objects import StoredObject

_DELETED_AT_ONCE = 1000  # S3's limit
_CONFLICT_SECONDS = 0.2
_WRITER, _NOT_THERE, _WHOLE = "writer", "404", "FULL_OBJECT"
# In the caller's thread, and in parts of 8 MiB: a few of them are all that memory ever holds.
_TRANSFER = TransferConfig(use_threads=False, multipart_chunksize=8 << 20)


class S3Bucket:
    """Objects of one bucket.

    Parameters
    ----------
    settings : AwsSettings
        Region, endpoint and patience; credentials come from the default chain.
    name : str
    region : str or None
        Of the bucket, where it is not the settings'.

    Raises
    ------
    ConfigurationError
        If no region is set.
    """

    def __init__(self, settings: AwsSettings, name: str, *, region: str | None = None) -> None:
        self._settings = settings
        self._name = name
        self._region = region or settings.region
        self._client: Any = client(settings, "s3", region=region)
        self._credentials: Any = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return self._name

    def find(self, key: str) -> StoredObject | None:
        # Asked by listing: a HEAD request's refusal does not say why. Of all keys that begin so the
        # key itself comes first.
        with aws_errors(f"look at {self._uri(key)}"):
            listed = self._client.list_objects_v2(Bucket=self._name, Prefix=key, MaxKeys=1)
        return next((f for f in map(_described, listed.get("Contents", ())) if f.key == key), None)

    def read(self, key: str) -> bytes:
        with aws_errors(f"read {self._uri(key)}"):
            try:
                content: bytes = self._client.get_object(Bucket=self._name, Key=key)["Body"].read()
            except self._client.exceptions.NoSuchKey:
                raise FileNotFoundError(self._uri(key)) from None
        return content

    def write(self, key: str, content: bytes) -> None:
        with aws_errors(f"write {self._uri(key)}"):
            self._client.put_object(Bucket=self._name, Key=key, Body=content)

    def write_new(self, key: str, content: bytes) -> bool:
        # Where an answer is lost the client asks again and finds its own object: it is known by its mark.
        mark, asked_again = uuid.uuid4().hex, False
        with aws_errors(f"write {self._uri(key)}"):
            for attempt in range(self._settings.attempts):
                try:
                    self._client.put_object(
                        Bucket=self._name,
                        Key=key,
                        Body=content,
                        IfNoneMatch="*",
                        Metadata={_WRITER: mark},
                        ChecksumAlgorithm="SHA256",
                    )
                except ClientError as error:
                    asked_again |= error.response["ResponseMetadata"].get("RetryAttempts", 0) > 0
                    code = error.response.get("Error", {}).get("Code")
                    if code == "PreconditionFailed":
                        return asked_again and self._written_by(key) == mark
                    # Another upload of the key is under way, and boto does not try again by itself.
                    if code != "ConditionalRequestConflict" or attempt + 1 == self._settings.attempts:
                        raise
                    asked_again = True  # that upload may be the one whose answer was lost
                    time.sleep(_CONFLICT_SECONDS * 2**attempt)
                else:
                    return True
        raise AssertionError("expected an answer or an error")

    def put(self, key: str, file: Path) -> None:
        with storage_errors(f"read {file}"), aws_errors(f"write {self._uri(key)}"), file.open("rb") as source:
            # Not upload_file: it wraps what AWS says, credentials that expired included.
            self._client.upload_fileobj(source, self._name, key, Config=_TRANSFER)

    def fetch(self, key: str, file: Path) -> None:
        with (
            storage_errors(f"write {file}"),
            file.open("wb") as target,
            aws_errors(f"read {self._uri(key)}"),
            self._or_not_found(key),
        ):
            self._client.download_fileobj(self._name, key, target, Config=_TRANSFER)

    def copy(self, key: str, to: str) -> None:
        source = {"Bucket": self._name, "Key": key}
        with aws_errors(f"copy {self._uri(key)} to {to}"), self._or_not_found(key):
            self._client.copy(source, self._name, to, Config=_TRANSFER)

    def sha256(self, key: str) -> str:
        """Hex digest of an object, by S3's own checksum where it has one; raises FileNotFoundError."""
        with aws_errors(f"look at {self._uri(key)}"), self._or_not_found(key):
            head = self._client.head_object(Bucket=self._name, Key=key, ChecksumMode="ENABLED")
        # One of many parts is a checksum of checksums.
        if "ChecksumSHA256" in head and head.get("ChecksumType", _WHOLE) == _WHOLE:
            return base64.b64decode(head["ChecksumSHA256"]).hex()
        return hashlib.sha256(self.read(key)).hexdigest()

    def delete(self, keys: Iterable[str]) -> None:
        left = iter(keys)
        while some := list(islice(left, _DELETED_AT_ONCE)):
            with aws_errors(f"delete {self._uri(some[0])}"):
                objects = [{"Key": key} for key in some]
                answer = self._client.delete_objects(
                    Bucket=self._name, Delete={"Objects": objects, "Quiet": True}
                )
                for refused in answer.get("Errors", ()):
                    raise ClientError({"Error": refused}, "DeleteObjects")

    def below(self, prefix: str) -> Iterator[StoredObject]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=prefix)
        with aws_errors(f"list {self._uri(prefix)}"):
            for page in pages:
                yield from map(_described, page.get("Contents", ()))

    def folders(self, prefix: str) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._name, Prefix=prefix, Delimiter="/"
        )
        with aws_errors(f"list {self._uri(prefix)}"):
            found = [folder["Prefix"] for page in pages for folder in page.get("CommonPrefixes", ())]
        return [key[len(prefix) : -1] for key in found]

    def delta_options(self) -> Mapping[str, str]:
        settings = self._settings
        with aws_errors(f"reach s3://{self._name}"):
            key = self._chain().get_frozen_credentials()
        options = {
            "region": self._region or "",
            "endpoint_url": settings.endpoint_url,
            "allow_http": "true" if (settings.endpoint_url or "").startswith("http://") else None,
            "access_key_id": key.access_key,
            "secret_access_key": key.secret_key,
            "session_token": key.token,
            "conditional_put": "etag",  # its own default, which an environment variable could change
            "timeout": f"{settings.timeout_seconds}s",
            "connect_timeout": f"{settings.timeout_seconds}s",
            "max_retries": str(settings.attempts - 1),
            "retry_timeout": f"{settings.timeout_seconds * settings.attempts}s",
        }
        return {name: value for name, value in options.items() if value is not None}

    def _chain(self) -> Any:
        """The chain's credentials, which renew themselves: deltalake's own chain knows no profiles."""
        with self._lock:
            if self._credentials is None:
                self._credentials = boto3.session.Session().get_credentials()
            if self._credentials is None:
                raise ConfigurationError(
                    f"cannot reach s3://{self._name}: expected AWS credentials, was none: log in, or give "
                    "the process a role"
                )
            return self._credentials

    def _written_by(self, key: str) -> str | None:
        found = self._client.head_object(Bucket=self._name, Key=key)
        mark: str | None = found["Metadata"].get(_WRITER)
        return mark

    @contextlib.contextmanager
    def _or_not_found(self, key: str) -> Iterator[None]:
        """Tell a missing object from a missing bucket, which the HEAD request of a transfer does not."""
        try:
            yield
        except ClientError as error:
            if error.response["Error"]["Code"] != _NOT_THERE:
                raise
            self.find(key)  # which raises if there is no such bucket
            raise FileNotFoundError(self._uri(key)) from None

    def _uri(self, key: str) -> str:
        return f"s3://{self._name}/{key}"


def _described(found: Mapping[str, Any]) -> StoredObject:
    return StoredObject(found["Key"], found["Size"], found["ETag"].strip('"'), found["LastModified"])
