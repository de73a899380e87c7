"""A write to a table: planned on one snapshot, committed whole or planned again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TypeVar

import polars as pl

from autotrader.data.changes import Resolution, Resolve
from autotrader.data.delta_log import CommitConflict, DeltaLog
from autotrader.data.parquet_files import FILE_ROWS, DataFile, Partition, read_files, write_files
from autotrader.domain.errors import BadData, Unreachable

T = TypeVar("T")

_SMALL_ROWS = FILE_ROWS // 2
_MAX_SMALL_FILES = 24
_ATTEMPTS = 20


class WriteConflict(Exception):
    """Another writer changed a partition that this write was planned on."""


class Write:
    """Files of a commit to be.

    As a context it deletes what it wrote if it was not committed. Rows that it handles have the
    table's columns without those of the partition, which are in the log.

    Parameters
    ----------
    log : DeltaLog
        Of the table; the table is created if there is none.
    row_key : tuple of str
        Names a row within its partition; starts with `ts`.
    commit_key : str
        See `LakeTable.upsert`.

    Attributes
    ----------
    base : Snapshot
        The version that the write is planned on.
    repeated_at : int or None
        The version that an earlier commit of this key made.
    """

    def __init__(self, log: DeltaLog, row_key: tuple[str, ...], commit_key: str) -> None:
        self._log = log
        self._row_key = row_key
        self._commit_key = commit_key
        self._columns = log.no_rows.columns
        self._planned: dict[Partition, list[DataFile]] = {}
        self._written: list[DataFile] = []
        self._may_be_committed = False
        self.base = log.create()
        self.repeated_at = log.committed_at(commit_key)

    def __enter__(self) -> Write:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._may_be_committed:
            for file in self._written:
                (self._log.root / file.path).unlink(missing_ok=True)

    @property
    def is_empty(self) -> bool:
        """Whether a commit would change nothing."""
        return not self._written and not self._removed()

    def upsert(self, partition: Partition, incoming: pl.DataFrame, resolve: Resolve) -> Resolution:
        """Plan what the rule makes of incoming rows, sorted by key; returns that.

        Raises
        ------
        BadData
            If the rule gives other columns or types than the table's.
        """
        first = incoming["ts"][0]
        end = incoming["ts"][-1] + timedelta(microseconds=1)
        reached = [f for f in self._files(partition) if f.reaches(first, end)]
        if reached:
            stored = self._read(reached, start=first, end=end)
            stored = stored if in_order(reached) else stored.sort(self._row_key)
        else:
            stored = self._log.no_rows
        found = resolve(stored, incoming, dict(zip(self._log.partition_by, partition, strict=True)))
        found = Resolution(self._in_form(found.inserted), self._in_form(found.replacing), found.unchanged)
        self._apply(partition, found)
        return found

    def delete(self, partition: Partition, start: datetime | None, end: datetime | None) -> int:
        """Plan to remove rows with ts in [start, end); returns how many there are."""
        reached = [f for f in self._files(partition) if f.reaches(start, end)]
        if not reached:
            return 0
        rows = self._read(reached)
        goes = pl.lit(value=True)
        if start is not None:
            goes &= pl.col("ts") >= start
        if end is not None:
            goes &= pl.col("ts") < end
        stays = rows.filter(~goes)
        if stays.height < rows.height:
            self._replace(partition, reached, stays if in_order(reached) else stays.sort(self._row_key))
        return rows.height - stays.height

    def commit(self, metadata: Mapping[str, object]) -> int:
        """Make the version; returns its number, or that of `base` if nothing changes.

        Raises
        ------
        WriteConflict
            If another writer changed a partition that was planned on, or made this very commit.
        Unreachable
            If writers of other partitions keep getting in first.
        """
        base = self.base
        if self.is_empty:
            return base.version
        planned = {f for files in self._planned.values() for f in files}
        added = [f for f in self._written if f in planned]
        removed = self._removed()
        for turn in range(_ATTEMPTS):
            # From here until a conflict says otherwise, the files may belong to a version: an error
            # after the log entry was written, in a checkpoint for one, must not delete them.
            self._may_be_committed = True
            try:
                return self._log.commit(
                    base, added=added, removed=removed, commit_key=self._commit_key, metadata=metadata
                )
            except CommitConflict:
                before = base.version
                base = self._log.create()
                if self._log.committed_at(self._commit_key) is not None:
                    raise WriteConflict from None
                if base.version == before:  # another upload is under way: of another writer, or lost by us
                    _pause(turn)
                    continue
                self._may_be_committed = False
                if any(base.files.get(p, ()) != self.base.files.get(p, ()) for p in self._planned):
                    raise WriteConflict from None
        raise Unreachable(
            f"other writers to {self._log.root} got in first {_ATTEMPTS} times in a row: run again"
        )

    def _apply(self, partition: Partition, found: Resolution) -> None:
        rest = _merged(found.inserted, found.replacing, self._row_key)
        if rest.is_empty():
            return
        files = self._files(partition)
        touched = _holding(files, found.replacing["ts"])
        small = {f for f in files if f.rows < _SMALL_ROWS}
        if len(small) >= _MAX_SMALL_FILES:
            touched |= small
        for run in _runs(files, touched):
            body = self._read(run).join(
                found.replacing.select(self._row_key), on=self._row_key, how="anti", nulls_equal=True
            )
            body = body if in_order(run) else body.sort(self._row_key)
            inside = pl.col("ts").is_between(run[0].first, max(f.last for f in run))
            self._replace(partition, run, _merged(body, rest.filter(inside), self._row_key))
            rest = rest.filter(~inside)
        self._replace(partition, (), rest)

    def _files(self, partition: Partition) -> list[DataFile]:
        """The partition's files as they would be; from now on the commit depends on them."""
        if partition not in self._planned:
            self._planned[partition] = list(self.base.files.get(partition, ()))
        return self._planned[partition]

    def _replace(self, partition: Partition, old: Iterable[DataFile], rows: pl.DataFrame) -> None:
        new = list(write_files(self._log.root, self._log.partition_by, partition, rows))
        gone = set(old)
        kept = [f for f in self._files(partition) if f not in gone]
        self._planned[partition] = sorted([*kept, *new], key=lambda f: (f.first, f.last, f.path))
        self._written.extend(new)

    def _removed(self) -> list[DataFile]:
        return [
            file
            for partition, files in self._planned.items()
            for file in self.base.files.get(partition, ())
            if file not in files
        ]

    def _read(
        self, files: Sequence[DataFile], *, start: datetime | None = None, end: datetime | None = None
    ) -> pl.DataFrame:
        return read_files(self._log.root, files, columns=self._columns, start=start, end=end)

    def _in_form(self, rows: pl.DataFrame) -> pl.DataFrame:
        schema = self._log.schema
        if rows.is_empty():
            return self._log.no_rows
        rows = rows[self._columns]
        wrong = [f"{c}: {t} instead of {schema[c]}" for c, t in rows.schema.items() if t != schema[c]]
        if wrong:
            raise BadData(f"expected the types of {self._log.root.name}, was {', '.join(wrong)}")
        return rows


def retry_conflicts(attempt: Callable[[], T], frames: Iterable[pl.DataFrame]) -> T:
    """Call until no other writer gets in between.

    Raises
    ------
    Unreachable
        If others always do, or did and the frames cannot be iterated again.
    """
    for turn in range(_ATTEMPTS):
        try:
            return attempt()
        except WriteConflict:
            if isinstance(frames, Iterator):
                raise Unreachable("another writer changed the same rows at once: run again") from None
            _pause(turn)
    raise Unreachable(f"other writers changed the same rows {_ATTEMPTS} times in a row: run again")


def _pause(turn: int) -> None:
    time.sleep(random.uniform(0, 0.01 * 2 ** min(turn, 6)))  # noqa: S311 - not a secret


def in_order(files: Sequence[DataFile]) -> bool:
    """Whether the files' rows, each file's sorted, are sorted when put one after another."""
    return all(before.last < after.first for before, after in pairwise(files))


def _merged(rows: pl.DataFrame, more: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Both together in order of key; sorting is left out where one is empty, since both are sorted."""
    if more.is_empty() or rows.is_empty():
        return rows if more.is_empty() else more
    return pl.concat([rows, more]).sort(key)


def _holding(files: Sequence[DataFile], moments: pl.Series) -> set[DataFile]:
    """Files whose span holds any of the moments."""
    if moments.is_empty():
        return set()
    moments = moments.sort()
    return {
        f
        for f in files
        if moments.search_sorted(f.first, side="left") < moments.search_sorted(f.last, side="right")
    }


def _runs(files: Sequence[DataFile], touched: set[DataFile]) -> Iterator[list[DataFile]]:
    """Touched files, grouped where they follow one another."""
    run: list[DataFile] = []
    for file in files:
        if file in touched:
            run.append(file)
        elif run:
            yield run
            run = []
    if run:
        yield run
