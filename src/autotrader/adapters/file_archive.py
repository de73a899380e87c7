"""The archive in a local folder: `YYYY-MM-DD/<venue>/<instrument>/<page>.gz`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from autotrader.data.files import TEMPORARY_PREFIX, file_name, local_folder, storage_errors, write_atomically
from autotrader.data.page_files import (
    decode_page_file,
    digest_in_name,
    encode_page,
    page_name,
    payload_digest,
)
from autotrader.domain.errors import BadData, NotFound
from autotrader.domain.instruments import Venue
from autotrader.ports.archive import ArchiveEntry
from autotrader.ports.market_data import RawPage


class FileArchive:
    """Raw pages as files whose names carry their content's hash.

    Parameters
    ----------
    root_uri : str
        A local folder; made on the first write.

    Raises
    ------
    ConfigurationError
        If the URI names an object store.
    """

    def __init__(self, root_uri: str) -> None:
        self._root = local_folder(root_uri, what="archive")

    def store(self, page: RawPage) -> ArchiveEntry:
        """Write the page durably; the same page again is found, not written.

        Raises
        ------
        Rejected, DependencyError
            If the folder cannot be written (full, read-only).
        """
        day = page.start.date().isoformat()
        key = f"{day}/{page.venue.value}/{file_name(page.instrument)}/{page_name(page)}"
        path = self._root / key
        with storage_errors(f"write {path}"):
            is_there = path.exists()
        if not is_there:
            write_atomically(path, encode_page(page))
        return ArchiveEntry(key=key, sha256=payload_digest(page))

    def load(self, entry: ArchiveEntry) -> RawPage:
        path = self._root / entry.key
        try:
            with storage_errors(f"read {path}"):
                content = path.read_bytes()
        except FileNotFoundError:
            raise NotFound(f"expected a raw page at {path}, was nothing") from None
        page = decode_page_file(content, name=str(path))
        if payload_digest(page) != entry.sha256 or page_name(page) != path.name:
            raise BadData(
                f"expected the page that its name promises in {path}, was another: restore the file"
            )
        return page

    def entries(
        self,
        *,
        venue: Venue | None = None,
        instrument: str | None = None,
        start: date | None = None,
        end: date | None = None,
    ) -> Iterator[ArchiveEntry]:
        for day in _folders(self._root):
            if (start and day.name < start.isoformat()) or (end and day.name > end.isoformat()):
                continue
            for of_venue in _folders(day, venue.value if venue else None):
                for of_instrument in _folders(of_venue, file_name(instrument) if instrument else None):
                    yield from self._pages(of_instrument)

    def _pages(self, folder: Path) -> Iterator[ArchiveEntry]:
        for path in sorted(folder.iterdir()):
            if not path.name.startswith(TEMPORARY_PREFIX):
                yield ArchiveEntry(path.relative_to(self._root).as_posix(), digest_in_name(path.name))


def _folders(parent: Path, name: str | None = None) -> list[Path]:
    if name is not None:
        wanted = parent / name
        return [wanted] if wanted.is_dir() else []
    return sorted(p for p in parent.iterdir() if p.is_dir()) if parent.is_dir() else []
