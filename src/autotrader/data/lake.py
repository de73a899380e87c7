"""The lake: Delta tables that are upserted by key.

An upsert reads only the stored rows in the span of the incoming ones, writes only rows that are
new or differ, and commits all its partitions at once. A kill leaves files that no version names:
harmless, and vacuumed by the data pipeline once they are old. Two writers never lose or double a
row: a commit holds only for the version it was planned on, or a later one in which its partitions
are the same; else it is planned again.

On S3 a version is made by a conditional upload (`If-None-Match`) of its log entry: of two writers
one is told that it was too late. Against a power cut a local lake is as safe as the operating
system's cache; the archive, from which it can be rebuilt, is synced to the disk.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from autotrader.data import pins
from autotrader.data.changes import ReplaceDiffering, Resolve
from autotrader.data.delta_log import LOG_FOLDER, stored_form
from autotrader.data.parquet_files import Partition
from autotrader.data.places import folders_in
from autotrader.data.table_reader import SORT_COLUMN, Schema, TableReader, partitions_of
from autotrader.data.write import Write, retry_conflicts
from autotrader.domain.errors import BadData
from autotrader.files import local_folder
from autotrader.ports.places import Place

__all__ = ["PARTITION_BY", "Lake", "LakeTable", "Schema", "UpsertReport", "fresh_key"]

PARTITION_BY = ("venue", "interval", "instrument")

_COUNTS = ("inserted", "unchanged", "replaced")  # as recorded with a commit


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
    """Tables in a folder, or below a prefix of a bucket.

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
        self.root: Place = local_folder(root) if isinstance(root, str) else root
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
        return [p.name for p in folders_in(self.root) if any(f.name == LOG_FOLDER for f in folders_in(p))]

    def vacuum(self, *, retention: timedelta) -> dict[str, list[str]]:
        """`LakeTable.vacuum` of every table; what was deleted, by table that had something to delete."""
        deleted = {name: self.open(name).vacuum(retention=retention) for name in self.names()}
        return {name: files for name, files in deleted.items() if files}


def fresh_key(reason: str) -> str:
    """A key of its own for a commit that is idempotent by its rows, whenever it is made again.

    A key that names the content would leave out the commit that is needed where other commits took
    these very rows away since: a rollback, say, or its undoing.
    """
    return f"{reason}/{uuid.uuid4().hex}"


class LakeTable(TableReader):
    """One table; made by `Lake.table`."""

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
            Once a commit of this key is made, doing it again changes nothing, whatever happened to
            the rows since: see `fresh_key`.
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
        filters = partitions_of(venue, instruments)

        def attempt() -> int:
            with Write(self._log, self.row_key, commit_key) as write:
                if write.repeated_at is not None:
                    return int(self._log.metadata_of(write.repeated_at).get("deleted", 0))
                deleted = sum(write.delete(p, start, end) for p, _ in self.matching(write.base, filters))
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
        # Series by series: each expression that polars plans and runs costs more than these comparisons.
        ts = frame[SORT_COLUMN]
        before, after = ts[:-1], ts[1:]
        ascending = ts.null_count() == 0 and (
            (after > before).all() if len(self.row_key) == 1 else (after >= before).all()
        )
        values = {c: frame[c] for c in self.partition_by}
        several = [c for c, v in values.items() if v.null_count() or not (v == v[0]).all()]
        if several:
            raise BadData(f"expected one {' and one '.join(several)} in a frame for {self.name}, was several")
        doubled = len(self.row_key) > 1 and frame.select(self.row_key).is_duplicated().any()
        if doubled or not ascending:
            named = ", ".join(self.row_key)
            raise BadData(f"expected rows sorted by {named} without doubles for {self.name}, was otherwise")
        return tuple(v[0] for v in values.values())

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

    def vacuum(self, *, retention: timedelta) -> list[str]:
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
