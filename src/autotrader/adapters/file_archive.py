"""The archive, in a folder or a bucket: `YYYY-MM-DD/<venue>/<instrument>/<page>.gz`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from autotrader.data.page_files import (
    decode_page_file,
    digest_in_name,
    encode_page,
    page_name,
    payload_digest,
)
from autotrader.data.places import files_in, folders_in, write_new
from autotrader.domain.errors import BadData, NotFound
from autotrader.domain.instruments import Venue
from autotrader.files import file_name, local_folder, storage_errors
from autotrader.ports.archive import ArchiveEntry
from autotrader.ports.market_data import RawPage
from autotrader.ports.places import Place


class FileArchive:
    """Raw pages as files whose names carry their content's hash.

    Parameters
    ----------
    root : Place or str
        Made on the first write. Text is a local folder's.

    Raises
    ------
    ConfigurationError
        If the text names an object store, whose bucket is to be opened first.
    """

    def __init__(self, root: Place | str) -> None:
        self._root: Place = local_folder(root) if isinstance(root, str) else root

    def store(self, page: RawPage) -> ArchiveEntry:
        """Write the page durably; the same page again is found, not written.

        Raises
        ------
        Rejected, DependencyError
            If the place cannot be written (full, read-only, no permission).
        """
        day = page.start.date().isoformat()
        key = f"{day}/{page.venue.value}/{file_name(page.instrument)}/{page_name(page)}"
        write_new(self._root / key, lambda: encode_page(page))
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
        for day in folders_in(self._root):
            if (start and day.name < start.isoformat()) or (end and day.name > end.isoformat()):
                continue
            for of_venue in _folders(day, venue.value if venue else None):
                for folder in _folders(of_venue, file_name(instrument) if instrument else None):
                    for page in files_in(folder):
                        key = f"{day.name}/{of_venue.name}/{folder.name}/{page.name}"
                        yield ArchiveEntry(key, digest_in_name(page.name))


def _folders(parent: Place, name: str | None) -> list[Place]:
    return folders_in(parent) if name is None else [parent / name]
