"""Archive: staged pages into the archive, before anything is derived from them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from autotrader.ingestion.staging import StagedPages, folder_of, write_entries
from autotrader.ingestion.windows import Assignment
from autotrader.ports.archive import Archive, ArchiveEntry
from autotrader.ports.market_data import longest_page
from autotrader.ports.places import Place

ENTRIES = "archived.json"

_THREADS = 8
_PAGES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Archived:
    """The archived pages of one assignment.

    Attributes
    ----------
    entries : str
        Path or URI of the file that lists them.
    pages : int
    """

    assignment: Assignment
    entries: str
    pages: int


def archive_staged(archive: Archive, assignment: Assignment, *, staging: Place) -> Archived:
    """Store the assignment's staged pages and list them in order of their windows."""
    folder = folder_of(staging, assignment)
    pages = iter(StagedPages(folder))
    entries: list[ArchiveEntry] = []
    with ThreadPoolExecutor(_THREADS) as pool:  # compression and syncing need not wait for one another
        while some := list(islice(pages, _PAGES_AT_ONCE)):
            entries += pool.map(archive.store, some)
    return _listed(assignment, folder, entries)


def find_archived(archive: Archive, assignment: Assignment, *, staging: Place) -> Archived:
    """List what the archive has of the assignment already, in order of arrival: for a reprocess."""
    entries = archive.entries(
        venue=assignment.venue,
        instrument=assignment.instrument,
        start=(assignment.start - longest_page(assignment.interval)).date(),  # filed under their start
        end=assignment.end.date(),
    )
    touching = []
    for entry in entries:
        page = archive.load(entry)
        if (
            page.interval is assignment.interval
            and page.start < assignment.end
            and page.end > assignment.start
        ):
            touching.append((page.fetched_at, page.start, entry))
    found = [entry for _, _, entry in sorted(touching, key=lambda t: t[:2])]
    return _listed(assignment, folder_of(staging, assignment), found)


def _listed(assignment: Assignment, folder: Place, entries: list[ArchiveEntry]) -> Archived:
    path = folder / ENTRIES
    write_entries(path, entries)
    return Archived(assignment, str(path), len(entries))
