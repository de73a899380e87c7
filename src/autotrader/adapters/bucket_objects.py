"""Objects below a prefix of a bucket."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from autotrader.domain.errors import BadData, NotFound
from autotrader.ports.objects import StoredObject
from autotrader.ports.places import Bucket


class BucketObjects:
    """A bucket, or the part of it below a prefix.

    Parameters
    ----------
    bucket : Bucket
    prefix : str
        Empty, or ends with `/`.
    """

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = prefix

    @property
    def uri(self) -> str:
        return f"s3://{self._bucket.name}/{self._prefix}".rstrip("/")

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        return map(self._relative, self._bucket.below(self._prefix + prefix))

    def find(self, key: str) -> StoredObject | None:
        found = self._bucket.find(self._key(key))
        return self._relative(found) if found else None

    def put(self, key: str, file: Path) -> None:
        self._bucket.put(self._key(key), file)

    def fetch(self, key: str, file: Path) -> None:
        with self._or_not_found(key):
            self._bucket.fetch(self._key(key), file)

    def read(self, key: str) -> bytes:
        with self._or_not_found(key):
            return self._bucket.read(self._key(key))

    def write(self, key: str, content: bytes) -> None:
        self._bucket.write(self._key(key), content)

    def write_new(self, key: str, content: bytes) -> bool:
        return self._bucket.write_new(self._key(key), content)

    def delete(self, key: str) -> None:
        self._bucket.delete([self._key(key)])

    def rename(self, key: str, to: str) -> None:
        with self._or_not_found(key):
            self._bucket.copy(self._key(key), self._key(to))
        self.delete(key)

    def _relative(self, found: StoredObject) -> StoredObject:
        return replace(found, key=found.key.removeprefix(self._prefix))

    @contextlib.contextmanager
    def _or_not_found(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise NotFound(f"expected an object {key} in {self.uri}, was none") from None

    def _key(self, key: str) -> str:
        if not key or key.startswith("/") or ".." in key.split("/"):
            raise BadData(f"expected a key below {self.uri}, was {key!r}")
        return self._prefix + key
