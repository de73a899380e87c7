"""The staging folder of a run: `<run>/<venue>/<instrument>-<interval>/`.

What lies there is safe to lose: a step that is repeated takes up what is there and makes the rest
again. A run that ends well removes its folder; those of failed runs are kept for a while, and few.
"""

from __future__ import annotations

import io
import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from autotrader.data.page_files import decode_page_file, encode_page
from autotrader.data.places import changed_at, delete_folder, files_in, folders_in, write_whole
from autotrader.domain.errors import BadData, NotFound
from autotrader.files import TEMPORARY_PREFIX, file_name, storage_errors
from autotrader.ingestion.windows import Assignment
from autotrader.ports.archive import ArchiveEntry
from autotrader.ports.market_data import RawPage
from autotrader.ports.places import Place

KEEP = timedelta(days=7)
KEPT_RUNS = 5
MAY_LIVE = timedelta(days=1)  # no run lasts longer

_TIME = "%Y%m%dT%H%M%SZ"


def forget_old_runs(parent: Place, *, of: Callable[[str], bool] = lambda _: True) -> list[Place]:
    """Delete folders of runs that nobody goes on with, so that failed runs cannot fill the disk.

    Those older than `KEEP` go, and of the younger ones all but the newest `KEPT_RUNS`, unless they
    may be of a run that is under way. Returns what was deleted.

    Parameters
    ----------
    parent : Place
        Holds a folder for each run.
    of : callable
        Whether a name is that of a folder to look at.
    """
    now = time.time()
    runs = [path for path in folders_in(parent) if of(path.name)]
    begun = sorted(((changed_at(path), path) for path in runs), key=lambda run: run[0], reverse=True)
    gone = [
        path
        for place, (moment, path) in enumerate(begun)
        if now - moment > (KEEP if place < KEPT_RUNS else MAY_LIVE).total_seconds()
    ]
    for path in gone:
        delete_folder(path)
    return gone


def folder_of(staging: Place, assignment: Assignment) -> Place:
    """Where an assignment's files lie."""
    name = f"{file_name(assignment.instrument)}-{assignment.interval.value}"
    return staging / assignment.venue.value / name


class StagedPages:
    """Raw pages of one assignment, in order of their windows."""

    def __init__(self, folder: Place) -> None:
        self._folder = folder / "pages"

    def add(self, page: RawPage) -> None:
        """Keep the page, whole or not at all."""
        path = self._folder / f"{page.start:{_TIME}}-{page.end:{_TIME}}.gz"
        write_whole(path, encode_page(page), durable=False)

    def resume_at(self, start: datetime) -> datetime:
        """End of the pages that join without a hole from `start`; `start` if there are none."""
        for begin, end, _ in self._windows():
            if begin == start:
                start = end
        return start

    def __len__(self) -> int:
        return len(self._windows())

    def __iter__(self) -> Iterator[RawPage]:
        for _, _, path in self._windows():
            with storage_errors(f"read {path}"):
                content = path.read_bytes()
            yield decode_page_file(content, name=str(path))

    def _windows(self) -> list[tuple[datetime, datetime, Place]]:
        found = []
        for path in files_in(self._folder):
            begin, _, end = path.name.removesuffix(".gz").partition("-")
            found.append((_read_time(begin, path), _read_time(end, path), path))
        return found


class StagedFrames:
    """Frames of bars in files, read one at a time, as often as asked.

    Parameters
    ----------
    paths : sequence of Place or str
        Text is a local path.
    """

    def __init__(self, paths: Sequence[Place | str]) -> None:
        self._paths: list[Place] = [Path(p) if isinstance(p, str) else p for p in paths]

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for path in self._paths:
            try:
                yield pl.read_parquet(path if isinstance(path, Path) else path.read_bytes(), glob=False)
            except FileNotFoundError:
                raise NotFound(f"expected staged rows at {path}, was nothing: validate again") from None
            except pl.exceptions.PolarsError as error:
                raise BadData(
                    f"cannot read {path}: {' '.join(str(error).split())}: validate again"
                ) from error


def write_frame(path: Place, rows: pl.DataFrame) -> None:
    """Stage rows, whole or not at all."""
    if not isinstance(path, Path):
        buffer = io.BytesIO()
        rows.write_parquet(buffer, compression="zstd", compression_level=1)
        write_whole(path, buffer.getvalue(), durable=False)
        return
    # A name of its own: an attempt that is given up may be at work still when the next one begins.
    unfinished = path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}")
    with storage_errors(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            rows.write_parquet(unfinished, compression="zstd", compression_level=1)
        except pl.exceptions.ComputeError as error:  # how it passes on what the operating system said
            unfinished.unlink(missing_ok=True)
            raise OSError(str(error)) from error
        unfinished.replace(path)


def write_entries(path: Place, entries: Sequence[ArchiveEntry]) -> None:
    """Stage the list of archived pages."""
    content = {"entries": [[e.key, e.sha256] for e in entries]}
    write_whole(path, json.dumps(content, indent=1).encode(), durable=False)


def read_entries(path: Place) -> list[ArchiveEntry]:
    """Read what `write_entries` wrote.

    Raises
    ------
    NotFound
        If the pages have not been archived yet.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"expected the list of archived pages at {path}, was nothing: archive first") from None
    return [ArchiveEntry(key, sha256) for key, sha256 in json.loads(content)["entries"]]


def _read_time(text: str, path: Place) -> datetime:
    try:
        return datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    except ValueError:
        raise BadData(f"expected a staged page, was {path}: delete it and run again") from None
