"""The data files of a table: immutable Parquet, sorted by key, checksummed by name.

zstd level 1, and no dictionaries where they do not pay, which the writer finds out by itself.
A file holds at most `FILE_ROWS` rows, so that a restated bar rewrites three months of minutes and
not a decade (smaller ones cost a quarter more to write), in row groups small enough that a day is
read without its quarter.
"""

from __future__ import annotations

import io
import mmap
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from autotrader.data.places import ObjectPath, local_path
from autotrader.domain.errors import BadData
from autotrader.files import TEMPORARY_PREFIX, file_name, hold, storage_errors, sweep_once
from autotrader.ports.places import Place

FILE_ROWS = 131_072
_ROW_GROUP_ROWS = 32_768
_KNOWN_SOUND = 65_536
_DOWNLOADS_AT_ONCE = 8
_REMEDY = "rebuild the lake from the archive, or restore the file"

Partition = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of a table.

    Attributes
    ----------
    path : str
        Relative to the table's folder; its last part is `<uuid>-<CRC-32 of the file>.parquet`.
    partition : tuple of str
        Values of the table's partition columns.
    rows, size : int
        Rows, bytes.
    first, last : datetime
        Smallest and largest `ts`, UTC.
    """

    path: str
    partition: Partition
    rows: int
    size: int
    first: datetime
    last: datetime

    def reaches(self, start: datetime | None, end: datetime | None) -> bool:
        """Whether the file may hold rows with ts in [start, end); None is unbounded."""
        return (start is None or self.last >= start) and (end is None or self.first < end)


def write_files(
    root: Place, partition_by: Sequence[str], partition: Partition, rows: pl.DataFrame
) -> Iterator[DataFile]:
    """Write rows of one partition, sorted by ts, as files of about equal size.

    Parameters
    ----------
    rows : pl.DataFrame
        Without the partition columns, which Delta keeps in the log.
    """
    folder = "/".join(f"{c}={file_name(v)}" for c, v in zip(partition_by, partition, strict=True))
    pieces = -(-rows.height // FILE_ROWS)
    for piece in range(pieces):
        begin, end = (rows.height * piece // pieces, rows.height * (piece + 1) // pieces)
        yield _write(root, folder, partition, rows[begin:end])


def _write(root: Place, folder: str, partition: Partition, rows: pl.DataFrame) -> DataFile:
    if isinstance(root, ObjectPath):
        path, size = _write_object(root, folder, rows)
    else:
        path, size = _write_local(local_path(root), folder, rows)
    return DataFile(path, partition, rows.height, size, rows["ts"][0], rows["ts"][-1])


def _write_object(root: ObjectPath, folder: str, rows: pl.DataFrame) -> tuple[str, int]:
    buffer = io.BytesIO()
    _encode(rows, buffer)
    content = buffer.getvalue()
    path = _new_name(folder, zlib.crc32(content))
    (root / path).bucket.write((root / path).key, content)
    return path, len(content)


def _write_local(root: Path, folder: str, rows: pl.DataFrame) -> tuple[str, int]:
    unfinished = root / folder / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    with storage_errors(f"write {unfinished.parent}"):
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        sweep_once(unfinished.parent)
        try:
            with unfinished.open("x+b") as file:
                hold(file)
                _encode(rows, file)
                checksum = _checksum(file)
                size = unfinished.stat().st_size
                path = _new_name(folder, checksum)
                unfinished.rename(root / path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
    return path, size


def _new_name(folder: str, checksum: int) -> str:
    return f"{folder}/{uuid.uuid4().hex}-{checksum:08x}.parquet"


def _encode(rows: pl.DataFrame, file: BinaryIO) -> None:
    """Write straight to the file: through a buffer of ours it takes a tenth longer."""
    try:
        rows.write_parquet(
            file,
            compression="zstd",
            compression_level=1,
            row_group_size=_ROW_GROUP_ROWS,
            statistics=rows.height > _ROW_GROUP_ROWS,  # of one group, the log knows the span
        )
        file.flush()
    except pl.exceptions.ComputeError as error:  # how it passes on what the operating system said
        raise OSError(str(error)) from error


def read_files(
    root: Place,
    files: Sequence[DataFile],
    *,
    columns: Sequence[str],
    start: datetime | None = None,
    end: datetime | None = None,
) -> pl.DataFrame:
    """Rows of the files with ts in [start, end), in the order of the files.

    Parameters
    ----------
    columns : sequence of str
        At least one; `ts` is read for the range whether it is among them or not.

    Raises
    ------
    BadData
        If a file is missing or damaged; the message names it.
    """
    sources = _sources(root, files)
    whole = all((start is None or f.first >= start) and (end is None or f.last < end) for f in files)
    try:
        if whole:
            return pl.read_parquet(sources, columns=list(columns), glob=False, hive_partitioning=False)
        rows = pl.scan_parquet(sources, glob=False, hive_partitioning=False)
        if start is not None:
            rows = rows.filter(pl.col("ts") >= start)
        if end is not None:
            rows = rows.filter(pl.col("ts") < end)
        return rows.select(columns).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        named = ", ".join(str(root / f.path) for f in files)
        raise BadData(f"cannot read {named}: {' '.join(str(error).split())}") from error


def damaged(root: Place, files: Sequence[DataFile]) -> Mapping[str, str]:
    """Those of the files that are missing or not as they were written, each with what is wrong."""
    found = {}
    for file in files:
        try:
            _check(root / file.path, file.size)
        except BadData as error:
            found[file.path] = str(error)
    return found


def _sources(root: Place, files: Sequence[DataFile]) -> list[Any]:
    """What polars reads the files from: verified paths, or verified contents of objects.

    A local file is never changed once written: it is verified once a process, not at every read.
    """
    paths = [root / file.path for file in files]
    sizes = [file.size for file in files]
    if isinstance(root, ObjectPath):
        if len(paths) == 1:
            return [_fetch(paths[0], sizes[0])]
        with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
            return list(pool.map(_fetch, paths, sizes))
    for path, size in zip(paths, sizes, strict=True):
        _verify_once(local_path(path), size)
    return paths


def _check(path: Place, size: int) -> None:
    if isinstance(path, Path):
        _verify(path, size)
    else:
        _fetch(path, size)


def _fetch(path: Place, size: int) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise BadData(f"expected a data file at {path}, was nothing: {_REMEDY}") from None
    _require_as_written(path, size, len(content), lambda: zlib.crc32(content))
    return content


@lru_cache(maxsize=_KNOWN_SOUND)
def _verify_once(path: Path, size: int) -> None:
    _verify(path, size)


def _verify(path: Path, size: int) -> None:
    try:
        with storage_errors(f"read {path}"), path.open("rb") as file:
            _require_as_written(path, size, path.stat().st_size, lambda: _checksum(file))
    except FileNotFoundError:
        raise BadData(f"expected a data file at {path}, was nothing: {_REMEDY}") from None


def _require_as_written(path: Place, size: int, found: int, checksum: Callable[[], int]) -> None:
    if found != size:
        raise BadData(f"expected {size} bytes in {path}, was {found}: {_REMEDY}")
    if f"{checksum():08x}" != path.name.removesuffix(".parquet").rpartition("-")[2]:
        raise BadData(f"expected the content that was written in {path}, was another: {_REMEDY}")


def _checksum(file: BinaryIO) -> int:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return zlib.crc32(content)
