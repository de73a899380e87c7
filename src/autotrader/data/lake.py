"""The lake: Delta tables that are upserted by key.

An upsert reads only the stored rows in the span of the incoming ones, writes only rows that are
new or differ, and commits all its partitions at once. A kill leaves files that no version names:
harmless, and vacuumed later. Two writers never lose or double a row: a commit holds only for the
version it was planned on, or a later one in which its partitions are the same; else it is planned
again.

Against a power cut the lake is as safe as the operating system's cache; the archive, from which
it can be rebuilt, is synced to the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from autotrader.data import pins
from autotrader.data.changes import ReplaceDiffering, Resolve
from autotrader.data.delta_log import DeltaLog, Snapshot, stored_form
from autotrader.data.files import local_folder
from autotrader.data.parquet_files import DataFile, Partition, damaged, read_files
from autotrader.data.write import Write, in_order, retry_conflicts
from autotrader.domain.errors import BadData

Schema = Mapping[str, pl.DataType | type[pl.DataType]]

PARTITION_BY = ("venue", "interval", "instrument")
SORT_COLUMN = "ts"

_COUNTS = ("inserted", "unchanged", "replaced")  # as recorded with a commit
_RETENTION = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class UpsertReport:
    """What an upsert did.

    Attributes
    ----------
    version : int
        Of the table, with these rows in it.
    inserted, replaced, unchanged : int
        Rows.
    repeated : bool
        True if a commit of this key had been made before: nothing was done, and the numbers are
        those of that commit.
    """

    version: int
    inserted: int = 0
    unchanged: int = 0
    replaced: int = 0
    repeated: bool = False


class Lake:
    """Tables in a folder.

    Parameters
    ----------
    uri : str
        A local folder; made on the first write.

    Raises
    ------
    ConfigurationError
        If the URI names an object store.
    """

    def __init__(self, uri: str) -> None:
        self.root = local_folder(uri, what="lake")
        self._tables: dict[tuple[str, object], LakeTable] = {}

    def table(
        self,
        name: str,
        schema: Schema,
        *,
        partition_by: tuple[str, ...] = PARTITION_BY,
        row_key: tuple[str, ...] = (SORT_COLUMN,),
    ) -> LakeTable:
        """A table, whether it exists yet or not.

        Parameters
        ----------
        schema : Mapping
            All columns, the partition's included; `ts` is the sort column of every table.
        partition_by : tuple of str
            Columns of type String.
        row_key : tuple of str
            What names a row within its partition; starts with `ts`.
        """
        asked = (name, (tuple(schema.items()), partition_by, row_key))
        if asked not in self._tables:
            self._tables[asked] = LakeTable(self.root / name, schema, partition_by, row_key)
        return self._tables[asked]

    def open(self, name: str) -> LakeTable:
        """A table that exists, with the columns that it has.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        schema, partition_by = stored_form(self.root / name)
        return LakeTable(self.root / name, schema, partition_by, (SORT_COLUMN,))

    def names(self) -> list[str]:
        """Tables that exist, in order of name."""
        return sorted(p.parent.name for p in self.root.glob("*/_delta_log"))


class LakeTable:
    """One table; made by `Lake.table`."""

    def __init__(
        self, root: Path, schema: Schema, partition_by: tuple[str, ...], row_key: tuple[str, ...]
    ) -> None:
        if row_key[0] != SORT_COLUMN or any(schema.get(c) != pl.String for c in partition_by):
            raise ValueError(f"expected a row key that starts with ts and String partitions in {root.name}")
        self.root = root
        self.name = root.name
        self.schema = dict(schema)
        self.partition_by = partition_by
        self.row_key = row_key
        self._log = DeltaLog(root, schema, partition_by)

    # ------------------------------------------------------------------------------- reading

    def version(self) -> int | None:
        """The newest version; None before the first write."""
        newest = self._log.newest()
        return None if newest is None else newest.version

    def read(
        self,
        *,
        venue: str | None = None,
        instruments: Sequence[str] | None = None,
        interval: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        columns: Sequence[str] | None = None,
        version: int | None = None,
        where: Mapping[str, str] | None = None,
    ) -> pl.DataFrame:
        """Rows with ts in [start, end), sorted by partition, then by key.

        Parameters
        ----------
        venue, interval : str or None
            None is any.
        instruments : sequence of str or None
            Symbols; None is all.
        columns : sequence of str or None
            In this order; None is all, in the schema's order.
        version : int or None
            None is the newest.
        where : Mapping[str, str] or None
            Values of further partition columns.

        Raises
        ------
        NotFound
            If there is no such version.
        BadData
            If a data file is missing or damaged; the message names it.
        """
        wanted = list(self.schema if columns is None else columns)
        snapshot = self._log.newest() if version is None else self._log.at(version)
        filters: dict[str, Iterable[str]] = {k: {v} for k, v in (where or {}).items()}
        filters |= _filters(venue, instruments)
        filters |= {"interval": {interval}} if interval is not None else {}
        frames = [
            self._read_partition(partition, files, wanted, start, end)
            for partition, files in self._matching(snapshot, filters)
        ]
        frames = [f for f in frames if f.height]
        if not frames:
            return pl.DataFrame(schema={c: self.schema[c] for c in wanted})
        return frames[0] if len(frames) == 1 else pl.concat(frames)

    def spans(self, **partition: str) -> dict[Partition, tuple[datetime, datetime, int]]:
        """First ts, last ts and number of rows of each matching partition, without reading any."""
        filters = {k: {v} for k, v in partition.items()}
        return {
            p: (files[0].first, max(f.last for f in files), sum(f.rows for f in files))
            for p, files in self._matching(self._log.newest(), filters)
        }

    def count(self) -> int:
        """Number of rows, without reading any."""
        return sum(rows for _, _, rows in self.spans().values())

    def count_range(
        self,
        *,
        venue: str | None = None,
        instruments: Sequence[str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> int:
        """Number of rows with ts in [start, end); reads only files that lie across a border."""
        count = 0
        for _, files in self._matching(self._log.newest(), _filters(venue, instruments)):
            for file in files:
                if (start is None or file.first >= start) and (end is None or file.last < end):
                    count += file.rows
                elif file.reaches(start, end):
                    count += read_files(self.root, [file], columns=[SORT_COLUMN], start=start, end=end).height
        return count

    def damaged(self, **partition: str) -> dict[str, str]:
        """Data files of matching partitions that are missing or altered, each with what is wrong."""
        filters = {k: {v} for k, v in partition.items()}
        found: dict[str, str] = {}
        for _, files in self._matching(self._log.newest(), filters):
            found |= damaged(self.root, files)
        return found

    def _matching(
        self, snapshot: Snapshot | None, filters: Mapping[str, Iterable[str]]
    ) -> Iterator[tuple[Partition, tuple[DataFile, ...]]]:
        unknown = set(filters) - set(self.partition_by)
        if unknown:
            raise ValueError(f"expected partition columns of {self.name}, was {sorted(unknown)}")
        tests = [(self.partition_by.index(c), values) for c, values in filters.items()]
        for partition, files in snapshot.files.items() if snapshot else ():
            if all(partition[i] in values for i, values in tests):
                yield partition, files

    def _read_partition(
        self,
        partition: Partition,
        files: Sequence[DataFile],
        columns: Sequence[str],
        start: datetime | None,
        end: datetime | None,
    ) -> pl.DataFrame:
        reached = [f for f in files if f.reaches(start, end)]
        if not reached:
            return pl.DataFrame(schema={c: self.schema[c] for c in columns})
        unsorted = not in_order(reached)
        inner = [c for c in columns if c not in self.partition_by]
        extra = [c for c in self.row_key if c not in inner and (unsorted or not inner)]
        rows = read_files(self.root, reached, columns=[*inner, *extra], start=start, end=end)
        if unsorted:
            rows = rows.sort(self.row_key)
        values = zip(self.partition_by, partition, strict=True)
        return rows.with_columns(pl.lit(v).alias(c) for c, v in values if c in columns).select(columns)

    # ------------------------------------------------------------------------------- writing

    def upsert(
        self, frames: Iterable[pl.DataFrame], *, commit_key: str, values: Sequence[str] | None = None
    ) -> UpsertReport:
        """Insert rows with new keys and replace rows that differ, in one commit.

        Parameters
        ----------
        frames : iterable of pl.DataFrame
            Each holds rows of one partition, in the table's columns, sorted by key, keys unique.
            Held one at a time. Iterated again if another writer gets in first, so prefer
            something that can be: a list, or an object that reads staged files.
        commit_key : str
            Names the content: once a commit of this key is made, doing it again changes nothing.
        values : sequence of str or None
            Columns whose difference counts; None is all that are not of the key.

        Raises
        ------
        BadData
            If a frame is not as described.
        Rejected, DependencyError
            If the storage cannot be written; the table stays as it was.
        Unreachable
            If other writers keep getting in first, or did and `frames` cannot be iterated again.
        """
        compared = (
            [c for c in self._log.no_rows.columns if c not in self.row_key] if values is None else values
        )
        resolve = ReplaceDiffering(self.row_key, tuple(compared))
        return retry_conflicts(
            lambda: self.write_once(frames, commit_key=commit_key, resolve=resolve), frames
        )

    def delete_range(
        self,
        *,
        commit_key: str,
        venue: str | None = None,
        instruments: Sequence[str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> int:
        """Remove rows with ts in [start, end) in one commit; returns how many.

        Raises
        ------
        Rejected, DependencyError, Unreachable
            As `upsert`.
        """
        filters = _filters(venue, instruments)

        def attempt() -> int:
            with Write(self._log, self.row_key, commit_key) as write:
                if write.repeated_at is not None:
                    return int(self._log.metadata_of(write.repeated_at).get("deleted", 0))
                deleted = sum(write.delete(p, start, end) for p, _ in self._matching(write.base, filters))
                write.commit({"deleted": deleted})
            return deleted

        return retry_conflicts(attempt, ())

    def write_once(
        self,
        frames: Iterable[pl.DataFrame],
        *,
        commit_key: str,
        resolve: Resolve,
        before_commit: Callable[[], None] | None = None,
    ) -> UpsertReport:
        """One attempt at an upsert whose rule is the caller's; see `upsert`.

        Parameters
        ----------
        resolve : Resolve
            Asked for each frame; frames may have further columns for it.
        before_commit : callable or None
            Called once when all is written and before it is committed, unless nothing changed.

        Raises
        ------
        WriteConflict
            If another writer changed the same partitions: plan again.
        """
        inserted = unchanged = replaced = 0
        with Write(self._log, self.row_key, commit_key) as write:
            if write.repeated_at is not None:
                done = self._log.metadata_of(write.repeated_at)
                inserted, unchanged, replaced = (int(done.get(k, 0)) for k in _COUNTS)
                return UpsertReport(write.repeated_at, inserted, unchanged, replaced, repeated=True)
            for frame in frames:
                if frame.height:
                    found = write.upsert(self._partition_of(frame), frame, resolve)
                    inserted += found.inserted.height
                    replaced += found.replacing.height
                    unchanged += found.unchanged
            counts = (inserted, unchanged, replaced)
            if before_commit is not None and not write.is_empty:
                before_commit()
            version = write.commit(dict(zip(_COUNTS, counts, strict=True)))
        return UpsertReport(version, *counts)

    def _partition_of(self, frame: pl.DataFrame) -> Partition:
        missing = [c for c in self.schema if c not in frame.columns]
        if missing:
            raise BadData(f"expected the columns of {self.name}, was without {', '.join(missing)}")
        ts = pl.col(SORT_COLUMN)
        before = ts.shift(1)
        ascending = ((ts > before) if len(self.row_key) == 1 else (ts >= before)).slice(1)
        found = frame.select(
            *(pl.col(c).eq_missing(pl.col(c).first()).all() for c in self.partition_by),
            (ascending.all(ignore_nulls=False) & ts.first().is_not_null()).alias(SORT_COLUMN),
        ).row(0, named=True)
        several = [c for c in self.partition_by if not found[c] or frame[c][0] is None]
        if several:
            raise BadData(f"expected one {' and one '.join(several)} in a frame for {self.name}, was several")
        doubled = len(self.row_key) > 1 and frame.select(self.row_key).is_duplicated().any()
        if doubled or not found[SORT_COLUMN]:
            named = ", ".join(self.row_key)
            raise BadData(f"expected rows sorted by {named} without doubles for {self.name}, was otherwise")
        return tuple(frame[c][0] for c in self.partition_by)

    # --------------------------------------------------------------------------- maintenance

    def pin(self, version: int, owner: str) -> None:
        """Keep a version readable whatever vacuum does, until the owner unpins."""
        pins.pin(self.root, version, owner)

    def unpin(self, owner: str) -> None:
        """Give up all of the owner's pins."""
        pins.unpin(self.root, owner)

    def pinned(self) -> dict[int, list[str]]:
        """Pinned versions, each with its owners."""
        return pins.pinned(self.root)

    def vacuum(self, *, retention: timedelta = _RETENTION) -> list[str]:
        """Delete files that neither the newest nor a pinned version has, and leftovers of kills.

        Parameters
        ----------
        retention : timedelta
            Younger files stay, since a writer may be about to commit them. Whole hours.

        Returns
        -------
        list of str
            What was deleted.
        """
        hours = int(retention.total_seconds() // 3600)
        return self._log.vacuum(retention_hours=hours, keep_versions=sorted(self.pinned()))


def _filters(venue: str | None, instruments: Sequence[str] | None) -> dict[str, Iterable[str]]:
    filters: dict[str, Iterable[str]] = {} if venue is None else {"venue": {venue}}
    return filters if instruments is None else filters | {"instrument": set(instruments)}
