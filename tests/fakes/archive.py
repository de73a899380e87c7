"""An archive in memory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from autotrader.data.page_files import page_name, payload_digest
from autotrader.domain.errors import BadData, NotFound
from autotrader.domain.instruments import Venue
from autotrader.ports.archive import ArchiveEntry
from autotrader.ports.market_data import RawPage


class InMemoryArchive:
    def __init__(self) -> None:
        self.pages: dict[str, RawPage] = {}

    def store(self, page: RawPage) -> ArchiveEntry:
        key = f"{page.start.date().isoformat()}/{page.venue.value}/{page.instrument}/{page_name(page)}"
        self.pages.setdefault(key, page)
        return ArchiveEntry(key, payload_digest(page))

    def load(self, entry: ArchiveEntry) -> RawPage:
        if entry.key not in self.pages:
            raise NotFound(f"expected a page at {entry.key}, was nothing")
        page = self.pages[entry.key]
        if payload_digest(page) != entry.sha256:
            raise BadData(f"expected the page that {entry.key} promises, was another")
        return page

    def entries(
        self,
        *,
        venue: Venue | None = None,
        instrument: str | None = None,
        start: date | None = None,
        end: date | None = None,
    ) -> Iterator[ArchiveEntry]:
        for key, page in sorted(self.pages.items()):
            day = page.start.date()
            if (
                venue in (None, page.venue)
                and instrument in (None, page.instrument)
                and (start is None or day >= start)
                and (end is None or day <= end)
            ):
                yield ArchiveEntry(key, payload_digest(page))
