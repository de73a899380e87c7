"""The archive of raw payloads: written before anything is derived from them, never changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Protocol, runtime_checkable

from autotrader.domain.instruments import Venue
from autotrader.ports.market_data import RawPage


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """Where a raw page lies, and what it hashes to.

    Attributes
    ----------
    key : str
        `YYYY-MM-DD/<venue>/<instrument>/<name>`, relative to the archive's root; the day is that
        of the page's first bar.
    sha256 : str
        Hex digest of the uncompressed payload.
    """

    key: str
    sha256: str


@runtime_checkable
class Archive(Protocol):
    """Content-hashed, gzip-compressed raw pages. Storing the same page twice stores it once."""

    def store(self, page: RawPage) -> ArchiveEntry:
        """Write the page durably (atomic: it is there whole or not at all). Threads may call it at once."""
        ...

    def load(self, entry: ArchiveEntry) -> RawPage:
        """Read a page back, its digest verified.

        Raises
        ------
        NotFound
            If there is no such entry.
        BadData
            If the content does not match its digest, or cannot be read.
        """
        ...

    def entries(
        self,
        *,
        venue: Venue | None = None,
        instrument: str | None = None,
        start: date | None = None,
        end: date | None = None,
    ) -> Iterator[ArchiveEntry]:
        """Entries in order of key; `start` and `end` (both inclusive) bound the key's day."""
        ...
