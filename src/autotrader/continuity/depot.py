"""The objects of a place of backups: content by the name of its SHA-256."""

from __future__ import annotations

import hashlib
from pathlib import Path

from autotrader.continuity.sets import OBJECTS, object_key
from autotrader.domain.errors import BadData, NotFound
from autotrader.ports.objects import ObjectStore


class Depot:
    """Adds what is not there yet, and gives back what was added, or says that it is not.

    Parameters
    ----------
    store : ObjectStore

    Attributes
    ----------
    added : int
        Objects that were not there before.
    added_bytes : int
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._sizes = {found.key.rpartition("/")[2]: found.size for found in store.list(OBJECTS)}
        self.added = 0
        self.added_bytes = 0

    def has(self, sha256: str, size: int) -> bool:
        return self._sizes.get(sha256) == size

    def add(self, file: Path, sha256: str) -> None:
        """Keep a file's content; nothing is copied if it is there."""
        size = file.stat().st_size
        if self.has(sha256, size):
            return
        self._store.put(object_key(sha256), file)
        self._sizes[sha256] = size
        self.added += 1
        self.added_bytes += size

    def fetch(self, sha256: str, file: Path, *, what: str) -> None:
        """Copy an object to the file, and check that it is what its name says.

        Raises
        ------
        BadData
            If it is lost, or another.
        """
        try:
            self._store.fetch(object_key(sha256), file)
        except NotFound:
            raise BadData(
                f"expected object {sha256} ({what}) in {self._store.uri}, was none: use another set"
            ) from None
        found = sha256_of(file)
        if found != sha256:
            file.unlink()
            raise BadData(
                f"expected object {sha256} ({what}) in {self._store.uri}, was damaged (SHA-256 {found}): "
                "use another set"
            )

    def keep_only(self, wanted: set[str]) -> int:
        """Delete all other objects; returns how many."""
        unwanted = self._sizes.keys() - wanted
        for sha256 in unwanted:
            self._store.delete(object_key(sha256))
        self._sizes = {sha256: size for sha256, size in self._sizes.items() if sha256 in wanted}
        return len(unwanted)


def sha256_of(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
