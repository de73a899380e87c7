"""Named objects in a place: a folder of this machine, or a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What a place knows of an object without reading it.

    Attributes
    ----------
    key : str
        Relative to the place, parts joined by `/`.
    size : int
        Bytes.
    stamp : str
        Another one whenever the object was written again.
    modified : datetime
        When it was written, UTC.
    """

    key: str
    size: int
    stamp: str
    modified: datetime


@runtime_checkable
class ObjectStore(Protocol):
    """Objects are there whole or not at all; memory does not grow with their size.

    Every method raises Rejected where the place is full or may not be written, Unreachable where it
    does not answer, and ConfigurationError where its credentials are wrong.
    """

    @property
    def uri(self) -> str: ...

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Objects whose key begins with the prefix, in no particular order."""
        ...

    def find(self, key: str) -> StoredObject | None: ...

    def put(self, key: str, file: Path) -> None:
        """Copy a file to the key, in place of what was there."""
        ...

    def fetch(self, key: str, file: Path) -> None:
        """Copy the object to a file, whose folder is there; raises NotFound."""
        ...

    def read(self, key: str) -> bytes:
        """A small object's content; raises NotFound."""
        ...

    def write(self, key: str, content: bytes) -> None: ...

    def write_new(self, key: str, content: bytes) -> bool:
        """Write unless the key is taken; of several that try at once, one is told True."""
        ...

    def delete(self, key: str) -> None:
        """Fine if there is no such object."""
        ...

    def rename(self, key: str, to: str) -> None:
        """Give the object another key; raises NotFound. Killed half way, both may be there."""
        ...
