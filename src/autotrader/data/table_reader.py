"""Reading a table of the lake: rows by partition and time, and what can be known without reading any."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import polars as pl

from autotrader.data.delta_log import DeltaLog, Snapshot
from autotrader.data.parquet_files import DataFile, Partition, damaged, read_files
from autotrader.data.write import in_order
from autotrader.ports.places import Place

Schema = Mapping[str, pl.DataType | type[pl.DataType]]

SORT_COLUMN = "ts"


class TableReader:
    """The reading half of a table; see `autotrader.data.lake.LakeTable`.

    Attributes
    ----------
    root : Place
    name : str
    schema : dict
    partition_by, row_key : tuple of str
        See `autotrader.data.lake.Lake.table`.
    """

    def __init__(
        self, root: Place, schema: Schema, partition_by: tuple[str, ...], row_key: tuple[str, ...]
    ) -> None:
        if row_key[0] != SORT_COLUMN or any(schema.get(c) != pl.String for c in partition_by):
            raise ValueError(f"expected a row key that starts with ts and String partitions in {root.name}")
        self.root = root
        self.name = root.name
        self.schema = dict(schema)
        self.partition_by = partition_by
        self.row_key = row_key
        self._log = DeltaLog(root, schema, partition_by)

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
        filters |= partitions_of(venue, instruments)
        filters |= {"interval": {interval}} if interval is not None else {}
        frames = [
            self._read_partition(partition, files, wanted, start, end)
            for partition, files in self.matching(snapshot, filters)
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
            for p, files in self.matching(self._log.newest(), filters)
        }

    def files_digest(self, **partition: str) -> str:
        """Names the files of the matching partitions: the same ones hold the same rows. Reads none."""
        filters = {k: {v} for k, v in partition.items()}
        named = [
            f"{file.path} {file.size}"
            for _, files in self.matching(self._log.newest(), filters)
            for file in files
        ]
        return hashlib.sha256("\n".join(named).encode()).hexdigest()

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
        for _, files in self.matching(self._log.newest(), partitions_of(venue, instruments)):
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
        for _, files in self.matching(self._log.newest(), filters):
            found |= damaged(self.root, files)
        return found

    def matching(
        self, snapshot: Snapshot | None, filters: Mapping[str, Iterable[str]]
    ) -> Iterator[tuple[Partition, tuple[DataFile, ...]]]:
        """Partitions of a snapshot whose values are among those named, with their files."""
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


def partitions_of(venue: str | None, instruments: Sequence[str] | None) -> dict[str, Iterable[str]]:
    """Partition columns and their values; None is any."""
    filters: dict[str, Iterable[str]] = {} if venue is None else {"venue": {venue}}
    return filters if instruments is None else filters | {"instrument": set(instruments)}
