"""The Delta log of one table: which files a version has, and commits of files, whole or not at all."""

from __future__ import annotations

import contextlib
import functools
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl
from deltalake import CommitProperties, DeltaTable, Field, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.schema import PrimitiveType
from deltalake.transaction import AddAction, RemoveAction

from autotrader.data.parquet_files import DataFile, Partition
from autotrader.data.places import ObjectPath, require_exclusive_writes, those_there
from autotrader.data.storage_answers import storage_answer
from autotrader.domain.errors import BadData, DependencyError, NotFound
from autotrader.ports.places import Place

LOG_FOLDER = "_delta_log"

# Pins name versions, and a version needs its log: expired entries are not cleaned up. A commit is
# a few kilobytes and there are few a day.
_CONFIGURATION = {"delta.enableExpiredLogCleanup": "false", "delta.dataSkippingStatsColumns": "ts"}

_DELTA_TYPES: dict[pl.DataType | type[pl.DataType], str] = {
    pl.String: "string",
    pl.Float64: "double",
    pl.Float32: "float",
    pl.Int64: "long",
    pl.Int32: "integer",
    pl.Int16: "short",
    pl.Int8: "byte",
    pl.Boolean: "boolean",
    pl.Date: "date",
    pl.Datetime("us", "UTC"): "timestamp",
}


class CommitConflict(Exception):
    """Another commit took the version."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files of one version, by partition, each partition's sorted by their first ts."""

    version: int
    files: Mapping[Partition, tuple[DataFile, ...]]


class DeltaLog:
    """Opens, reads and extends the log.

    Parameters
    ----------
    root : Place
        The table's folder.
    schema : Mapping
        Columns of the table and their polars types.
    partition_by : sequence of str
        Columns of type String, which are kept in the log rather than in files.

    Attributes
    ----------
    no_rows : pl.DataFrame
        The form of the rows in files.
    """

    def __init__(
        self, root: Place, schema: Mapping[str, pl.DataType | type[pl.DataType]], partition_by: Sequence[str]
    ) -> None:
        self.root = root
        self.schema = dict(schema)
        self.partition_by = tuple(partition_by)
        self.no_rows = pl.DataFrame(schema={c: t for c, t in schema.items() if c not in partition_by})
        self._delta: DeltaTable | None = None
        self._options: dict[str, str] | None = None
        self._newest: Snapshot | None = None
        self._delta_schema = _delta_schema(schema)
        self._lock = threading.RLock()

    def newest(self) -> Snapshot | None:
        """The newest version; None where there is no table yet.

        Raises
        ------
        BadData
            If the log is damaged, or its table has other columns than expected.
        """
        with self._lock, _trouble(f"read {self.root}"):
            options = _options(self.root)
            if self._delta is None or options != self._options:  # credentials are renewed every few hours
                try:
                    self._delta = _open(self.root, options)
                except TableNotFoundError:
                    return None
                self._options = options
                self._require_schema(self._delta)
            else:
                self._delta.update_incremental()
            if self._newest is None or self._newest.version != self._delta.version():
                self._newest = _snapshot(self._delta, self.partition_by)
            return self._newest

    def at(self, version: int) -> Snapshot:
        """The files of a version.

        Raises
        ------
        NotFound
            If there is no such version.
        """
        newest = self.newest()
        if newest is not None and newest.version == version:
            return newest
        if newest is None or not 0 <= version < newest.version:
            last = "no version at all" if newest is None else f"versions 0 to {newest.version}"
            raise NotFound(f"expected a version of {self.root}, was {version}: it has {last}")
        with _trouble(f"read {self.root}"):
            return _snapshot(_open(self.root, _options(self.root), version), self.partition_by)

    def create(self) -> Snapshot:
        """The newest version, after making the empty table if there was none."""
        found = self.newest()
        if found is not None:
            return found
        with _trouble(f"create {self.root}"):
            if isinstance(self.root, Path):
                self.root.mkdir(parents=True, exist_ok=True)
            require_exclusive_writes(self.root)
            with contextlib.suppress(CommitFailedError):  # another process made it in this very moment
                DeltaTable.create(
                    str(self.root),
                    storage_options=_options(self.root),
                    schema=self._delta_schema,
                    partition_by=list(self.partition_by),
                    mode="ignore",
                    configuration=_CONFIGURATION,
                )
        found = self.newest()
        if found is None:
            raise DependencyError(f"expected a table at {self.root} after creating it, was none")
        return found

    def committed_at(self, commit_key: str) -> int | None:
        """The version that the key's commit made, as of `newest()`; None if there was none."""
        return None if self._delta is None else self._delta.transaction_version(commit_key)

    def metadata_of(self, version: int) -> dict[str, Any]:
        """What was recorded with a commit, empty if its log entry is gone."""
        try:
            entry = (self.root / LOG_FOLDER / f"{version:020d}.json").read_bytes()
        except FileNotFoundError:
            return {}
        actions = (json.loads(line) for line in entry.splitlines())
        return next((dict(a["commitInfo"]) for a in actions if "commitInfo" in a), {})

    def commit(
        self,
        base: Snapshot,
        *,
        added: Sequence[DataFile],
        removed: Sequence[DataFile],
        commit_key: str,
        metadata: Mapping[str, object],
    ) -> int:
        """Make the version after `base`; returns its number.

        Raises
        ------
        CommitConflict
            If another writer made it first, or is about to; nothing was changed.
        """
        now = int(time.time() * 1000)
        version = base.version + 1
        actions: list[AddAction | RemoveAction] = [
            *(_add(file, self.partition_by, now) for file in added),
            *(_remove(file, self.partition_by, now) for file in removed),
        ]
        with self._lock, _trouble(f"commit to {self.root}"):
            if self._delta is None or self._delta.version() != base.version:
                raise CommitConflict
            try:
                self._delta.create_write_transaction(
                    actions,
                    mode="append",
                    schema=self._delta_schema,
                    partition_by=list(self.partition_by),
                    commit_properties=CommitProperties(
                        custom_metadata={"commit_key": commit_key, **metadata},
                        max_commit_retries=0,
                        app_transactions=[Transaction(commit_key, version)],
                    ),
                )
            except CommitFailedError as error:
                found = self.newest()
                is_later = found is not None and found.version > base.version
                # S3 also refuses an upload while another of the same entry is under way (409).
                if is_later or isinstance(self.root, ObjectPath):
                    raise CommitConflict from error
                raise
            self._delta.update_incremental()
        return version

    def vacuum(self, *, retention_hours: int, keep_versions: Sequence[int]) -> list[str]:
        """Delete files that no kept version has and that are older than the retention; their paths."""
        if self.newest() is None:
            return []
        with self._lock, _trouble(f"vacuum {self.root}"):
            assert self._delta is not None  # noqa: S101 - newest() opened it
            vacuum = functools.partial(
                self._delta.vacuum,
                retention_hours=retention_hours,
                enforce_retention_duration=False,
                full=True,
                keep_versions=list(keep_versions) or None,
            )
            # It names what it deleted before as well, and makes two versions of it each time.
            standing = those_there(self.root, vacuum(dry_run=True))
            if standing:
                vacuum(dry_run=False)
            return standing

    def _require_schema(self, delta: DeltaTable) -> None:
        expected = json.loads(self._delta_schema.to_json())["fields"]
        found = json.loads(delta.schema().to_json())["fields"]
        wanted, has = ({f["name"]: f["type"] for f in fields} for fields in (expected, found))
        if wanted != has:
            differing = sorted(n for n in wanted | has if wanted.get(n) != has.get(n))
            raise BadData(
                f"expected the columns of this version of autotrader in {self.root}, "
                f"was different in {', '.join(differing)}: rebuild the table"
            )


def stored_form(root: Place) -> tuple[dict[str, pl.DataType], tuple[str, ...]]:
    """Columns and partition columns that a table has.

    Raises
    ------
    NotFound
        If there is no table.
    """
    with _trouble(f"read {root}"):
        try:
            delta = _open(root, _options(root))
        except TableNotFoundError:
            raise NotFound(f"expected a table at {root}, was nothing") from None
        empty = pl.DataFrame(delta.schema().to_arrow().empty_table())
        return dict(empty.schema), tuple(delta.metadata().partition_columns)


def _options(root: Place) -> dict[str, str] | None:
    return dict(root.bucket.delta_options()) if isinstance(root, ObjectPath) else None


def _open(root: Place, options: dict[str, str] | None, version: int | None = None) -> DeltaTable:
    return DeltaTable(str(root), version=version, storage_options=options)


@contextlib.contextmanager
def _trouble(doing: str) -> Iterator[None]:
    """Say in one line, with the table's name, what deltalake and the operating system say."""
    try:
        yield
    except DeltaError as error:
        if _is_storage(error):
            raise storage_answer(doing, OSError(str(error))) from error
        raise BadData(f"cannot {doing}: the log is damaged: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise storage_answer(doing, OSError(error.errno, str(error))) from error


def _is_storage(error: DeltaError) -> bool:
    said = str(error).lower()
    return "object store" in said or "error performing" in said or isinstance(error, CommitFailedError)


def _snapshot(delta: DeltaTable, partition_by: Sequence[str]) -> Snapshot:
    actions = pl.DataFrame(delta.get_add_actions(flatten=True))
    files: dict[Partition, list[DataFile]] = {}
    if actions.height:
        wanted = [
            "path",
            "num_records",
            "size_bytes",
            "min.ts",
            "max.ts",
            *(f"partition.{c}" for c in partition_by),
        ]
        for path, rows, size, first, last, *partition in (
            actions.select(wanted).sort("min.ts", "max.ts", "path").iter_rows()
        ):
            file = DataFile(unquote(path), tuple(partition), rows, size, first, last)
            files.setdefault(file.partition, []).append(file)
    return Snapshot(delta.version(), {p: tuple(files[p]) for p in sorted(files)})


def _delta_schema(schema: Mapping[str, pl.DataType | type[pl.DataType]]) -> Schema:
    """Delta's words for the types; by hand, since the way over arrow takes longer than an upsert."""
    unknown = [f"{name}: {kind}" for name, kind in schema.items() if kind not in _DELTA_TYPES]
    if unknown:
        raise ValueError(f"expected types of {[str(t) for t in _DELTA_TYPES]}, was {', '.join(unknown)}")
    return Schema([Field(name, PrimitiveType(_DELTA_TYPES[kind])) for name, kind in schema.items()])


def _add(file: DataFile, partition_by: Sequence[str], now: int) -> AddAction:
    statistics = {
        "numRecords": file.rows,
        "minValues": {"ts": file.first.isoformat()},
        "maxValues": {"ts": file.last.isoformat()},
        "nullCount": {"ts": 0},
    }
    return AddAction(
        path=file.path,
        size=file.size,
        partition_values=dict(zip(partition_by, file.partition, strict=True)),
        modification_time=now,
        data_change=True,
        stats=json.dumps(statistics),
    )


def _remove(file: DataFile, partition_by: Sequence[str], now: int) -> RemoveAction:
    return RemoveAction(
        path=file.path,
        data_change=True,
        deletion_timestamp=now,
        size=file.size,
        partition_values=dict(zip(partition_by, file.partition, strict=True)),
    )
