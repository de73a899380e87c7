"""Where files lie: below a local folder, or in a bucket."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

from autotrader.ports.objects import StoredObject


@runtime_checkable
class Place(Protocol):
    """A file or folder by name, there or not; `pathlib.Path` is one. Its text is a path or URI."""

    @property
    def name(self) -> str: ...

    @property
    def parent(self) -> Self: ...

    def __truediv__(self, name: str, /) -> Self: ...

    def exists(self) -> bool:
        """Whether there is such a file."""
        ...

    def read_bytes(self) -> bytes:
        """The file's content; raises FileNotFoundError."""
        ...

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the file."""
        ...


@runtime_checkable
class Places(Protocol):
    """Opens the place that a path or `s3://` URI names."""

    def __call__(self, uri: str, /) -> Place:
        """Raises ConfigurationError if the URI is of another kind."""
        ...


@runtime_checkable
class Bucket(Protocol):
    """Objects by key: each there whole or not at all, to all readers as soon as it is written.

    The one way to S3: places, object stores and Delta tables stand on it.

    Every method raises ConfigurationError for wrong credentials, Throttled and Unreachable for what
    may succeed later, NotFound if there is no such bucket, and Rejected for what it refuses.
    """

    @property
    def name(self) -> str: ...

    def find(self, key: str) -> StoredObject | None: ...

    def read(self, key: str) -> bytes:
        """The content; raises FileNotFoundError if there is no such object."""
        ...

    def write(self, key: str, content: bytes) -> None:
        """Make the object, in place of what was there."""
        ...

    def write_new(self, key: str, content: bytes) -> bool:
        """Make the object unless there is one: of several at once, one is told True."""
        ...

    def put(self, key: str, file: Path) -> None:
        """`write` of a local file's content, whatever its size."""
        ...

    def fetch(self, key: str, file: Path) -> None:
        """`read` into a local file, whatever the size; its folder is there."""
        ...

    def copy(self, key: str, to: str) -> None:
        """Make the object under another key, too; raises FileNotFoundError."""
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; fine if they are gone."""
        ...

    def below(self, prefix: str) -> Iterator[StoredObject]:
        """Objects whose key begins so, in order of key."""
        ...

    def folders(self, prefix: str) -> list[str]:
        """What follows the prefix up to the next `/`, of all keys where something does, in order."""
        ...

    def delta_options(self) -> Mapping[str, str]:
        """How deltalake reaches the bucket; others once the credentials were renewed. A secret."""
        ...
