"""The staging folder of a run: `<run>/<venue>/<instrument>-<interval>/`.

What lies there is safe to lose: a step that is repeated takes up what is there and makes the rest
again. A run that ends well removes its folder; those of failed runs are kept for a while, and few.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from autotrader.data.files import TEMPORARY_PREFIX, file_name, storage_errors, write_atomically
from autotrader.data.page_files import decode_page_file, encode_page
from autotrader.domain.errors import BadData, NotFound
from autotrader.ingestion.windows import Assignment
from autotrader.ports.archive import ArchiveEntry
from autotrader.ports.market_data import RawPage

KEEP = timedelta(days=7)
KEPT_RUNS = 5
MAY_LIVE = timedelta(days=1)  # no run lasts longer

_TIME = "%Y%m%dT%H%M%SZ"


def forget_old_runs(runs: Iterable[Path]) -> list[Path]:
    """Delete folders of runs that nobody goes on with, so that failed runs cannot fill the disk.

    Those older than `KEEP` go, and of the younger ones all but the newest `KEPT_RUNS`, unless they
    may be of a run that is under way. Returns what was deleted.
    """
    now = time.time()
    begun = sorted(((path.stat().st_mtime, path) for path in runs if path.is_dir()), reverse=True)
    gone = [
        path
        for place, (moment, path) in enumerate(begun)
        if now - moment > (KEEP if place < KEPT_RUNS else MAY_LIVE).total_seconds()
    ]
    for path in gone:
        shutil.rmtree(path, ignore_errors=True)
    return gone


def folder_of(staging: Path, assignment: Assignment) -> Path:
    """Where an assignment's files lie."""
    name = f"{file_name(assignment.instrument)}-{assignment.interval.value}"
    return staging / assignment.venue.value / name


class StagedPages:
    """Raw pages of one assignment, in order of their windows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "pages"

    def add(self, page: RawPage) -> None:
        """Keep the page, whole or not at all."""
        path = self._folder / f"{page.start:{_TIME}}-{page.end:{_TIME}}.gz"
        write_atomically(path, encode_page(page), durable=False)

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

    def _windows(self) -> list[tuple[datetime, datetime, Path]]:
        if not self._folder.is_dir():
            return []
        found = []
        for path in sorted(self._folder.iterdir()):
            if not path.name.startswith(TEMPORARY_PREFIX):
                begin, _, end = path.stem.partition("-")
                found.append((_read_time(begin, path), _read_time(end, path), path))
        return found


class StagedFrames:
    """Frames of bars in files, read one at a time, as often as asked."""

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self._paths = [Path(p) for p in paths]

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for path in self._paths:
            try:
                yield pl.read_parquet(path, glob=False)
            except FileNotFoundError:
                raise NotFound(f"expected staged rows at {path}, was nothing: validate again") from None
            except pl.exceptions.PolarsError as error:
                raise BadData(
                    f"cannot read {path}: {' '.join(str(error).split())}: validate again"
                ) from error


def write_frame(path: Path, rows: pl.DataFrame) -> None:
    """Stage rows, whole or not at all."""
    unfinished = path.with_name(TEMPORARY_PREFIX + path.name)
    with storage_errors(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            rows.write_parquet(unfinished, compression="zstd", compression_level=1)
        except pl.exceptions.ComputeError as error:  # how it passes on what the operating system said
            raise OSError(str(error)) from error
        unfinished.replace(path)


def write_entries(path: Path, entries: Sequence[ArchiveEntry]) -> None:
    """Stage the list of archived pages."""
    content = {"entries": [[e.key, e.sha256] for e in entries]}
    write_atomically(path, json.dumps(content, indent=1).encode(), durable=False)


def read_entries(path: Path) -> list[ArchiveEntry]:
    """Read what `write_entries` wrote.

    Raises
    ------
    NotFound
        If the pages have not been archived yet.
    """
    try:
        content = path.read_text()
    except FileNotFoundError:
        raise NotFound(f"expected the list of archived pages at {path}, was nothing: archive first") from None
    return [ArchiveEntry(key, sha256) for key, sha256 in json.loads(content)["entries"]]


def _read_time(text: str, path: Path) -> datetime:
    try:
        return datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    except ValueError:
        raise BadData(f"expected a staged page, was {path}: delete it and run again") from None
