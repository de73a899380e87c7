"""Copy everything that nothing else could make again, as one set."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import structlog

from autotrader import command
from autotrader.adapters.objects import open_objects
from autotrader.config.actor import operator
from autotrader.config.settings import Settings
from autotrader.continuity import sets, telling
from autotrader.continuity.depot import Depot, sha256_of
from autotrader.continuity.places import LAKE, MAIN, places_of
from autotrader.continuity.retention import forget_old_sets
from autotrader.continuity.trees import KeptFile, keep_tree, kept_files
from autotrader.db.dumps import database_of
from autotrader.db.engine import connect
from autotrader.db.locks import exclusive
from autotrader.domain.errors import AutotraderError, BadData, NotFound, Refused
from autotrader.files import storage_errors
from autotrader.ports.clock import WallClock
from autotrader.ports.objects import ObjectStore

log = structlog.get_logger(__name__)

_SCRATCH = ".backup-"
_SECOND = "%Y%m%dT%H%M%SZ"


def backup(
    *, to: str | None = None, keep: int | None = None, settings: Settings, clock: WallClock
) -> command.Result:
    """Copy the databases, the lake, the archive, models and releases to a place of backups, as one set.

    What runs goes on running. Files that did not change since the last set are not copied again. A
    set counts when all of it is there; a run that dies half way leaves one that nobody restores, and
    the next run takes up what it copied.

    Parameters
    ----------
    to : str
        Folder or s3://bucket/prefix; default: the setting.
    keep : int
        Complete sets that are kept, the newest; default: the setting.
    """
    kept = settings.backup.keep if keep is None else keep
    if kept < 1:
        raise Refused(f"expected at least one set to be kept, was {kept}")
    began = clock.monotonic()
    try:
        made, depot, forgotten = make_set(settings, clock, to=to or settings.backup_uri, keep=kept)
    except AutotraderError as error:
        telling.failed(settings, clock, error)
        raise
    telling.succeeded(settings, clock, made, uri=to or settings.backup_uri)
    seconds = clock.monotonic() - began
    data = {
        "set": made,
        "added_objects": depot.added,
        "added_bytes": depot.added_bytes,
        "forgotten": forgotten,
        "seconds": round(seconds, 3),
    }
    return command.Result(data, f"{render(made)}\n{_told(depot, forgotten, seconds)}")


def make_set(
    settings: Settings, clock: WallClock, *, to: str, keep: int
) -> tuple[sets.BackupSet, Depot, list[str]]:
    """One set, and what was forgotten for it.

    Raises
    ------
    NotFound
        If there is no database yet.
    Unreachable
        If another backup is under way, or something does not answer.
    """
    places = places_of(settings)
    if not database_of(places.databases[MAIN]).exists():
        raise NotFound(f"expected a database at {database_of(places.databases[MAIN]).name}, was none")
    # Of all machines that share the database; sets of two at once would delete each other's objects.
    engine = connect(places.databases[MAIN])
    try:
        with exclusive(engine, "backup", wait_seconds=0), _scratch(settings) as scratch:
            store = open_objects(to, settings.aws)
            began = clock.now()
            set_id = began.strftime(_SECOND)
            if not sets.begin(store, set_id, by=operator(), at=began):
                raise Refused(f"expected no set {set_id} in {store.uri}, was one: run again")
            depot = Depot(store)
            made = _fill(settings, clock, set_id, began, store, depot, scratch)
            sets.complete(store, made)
            return made, depot, forget_old_sets(store, depot, scratch, keep=keep)
    finally:
        engine.dispose()


def _fill(
    settings: Settings,
    clock: WallClock,
    set_id: str,
    began: datetime,
    store: ObjectStore,
    depot: Depot,
    scratch: Path,
) -> sets.BackupSet:
    places = places_of(settings)
    before = _newest(store)
    absent, databases, trees = [], [], []
    as_of = clock.now()
    for name, url in places.databases.items():
        database = database_of(url)
        if not database.exists():
            absent.append(name)
            continue
        file = scratch / f"{name}.dump"
        tables = database.dump(file)
        digest = sha256_of(file)
        depot.add(file, digest)
        databases.append(sets.DatabasePart(name, database.kind, digest, file.stat().st_size, tables))
        file.unlink()
        log.info("database copied", name=name, tables=len(tables))
    for name, uri in places.trees.items():
        known = _files_before(before, name, depot, scratch)
        source = open_objects(uri, settings.aws)
        part = keep_tree(name, source, depot, scratch, before=known, is_lake=name == LAKE)
        if part.files:
            trees.append(part)
            log.info("tree copied", name=name, files=part.files)
        else:
            absent.append(name)
    return sets.BackupSet(
        id=set_id,
        environment=settings.environment.value,
        by=operator(),
        began_at=began,
        as_of=as_of,
        completed_at=clock.now(),
        databases=tuple(databases),
        trees=tuple(trees),
        absent=tuple(absent),
    )


def _newest(store: ObjectStore) -> sets.BackupSet | None:
    try:
        return sets.load(store, sets.LATEST)
    except NotFound:
        return None
    except BadData as error:
        log.warning("the newest set cannot be built upon: everything is read again", reason=str(error))
        return None


def _files_before(
    before: sets.BackupSet | None, name: str, depot: Depot, scratch: Path
) -> dict[str, KeptFile]:
    part = next((part for part in before.trees if part.name == name), None) if before else None
    if part is None:
        return {}
    try:
        return {kept.path: kept for kept in kept_files(part, depot, scratch)}
    except BadData as error:
        log.warning("the newest set cannot be built upon: all is read again", tree=name, reason=str(error))
        return {}


@contextmanager
def _scratch(settings: Settings) -> Iterator[Path]:
    """A folder of this run beside the data; those of runs that were killed go."""
    home = settings.home.resolve()
    with storage_errors(f"write {home}"):
        home.mkdir(parents=True, exist_ok=True)
        for leftover in home.glob(f"{_SCRATCH}*"):
            shutil.rmtree(leftover)
        folder = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=home))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def render(made: sets.BackupSet) -> str:
    """For a terminal."""
    lines = [f"set {made.id}: complete, as of {made.as_of:%F %T} UTC, {made.size:,} bytes"]
    for database in made.databases:
        rows = sum(table.rows for table in database.tables)
        lines.append(f"  {database.name:<14} {database.kind}, {len(database.tables)} tables, {rows:,} rows")
    for tree in made.trees:
        lines.append(f"  {tree.name:<14} {tree.files:,} files, {tree.size:,} bytes")
        lines += [
            f"    {t.name}: version {t.version}, {t.rows:,} rows, newest {t.newest}" for t in tree.tables
        ]
    if made.absent:
        lines.append(f"  not there, and so not in it: {', '.join(made.absent)}")
    return "\n".join(lines)


def _told(depot: Depot, forgotten: list[str], seconds: float) -> str:
    gone = f"; forgot {', '.join(forgotten)}" if forgotten else ""
    return f"copied {depot.added:,} new objects ({depot.added_bytes:,} bytes) in {seconds:.1f} s{gone}"


if __name__ == "__main__":
    raise SystemExit(command.run(backup))
