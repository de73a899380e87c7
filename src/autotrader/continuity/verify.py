"""Prove that a backup set can be restored, by restoring it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import structlog

from autotrader import command
from autotrader.adapters.objects import open_objects
from autotrader.config.settings import Settings
from autotrader.continuity import sets
from autotrader.continuity.depot import Depot
from autotrader.continuity.places import Places, beside, places_in, places_of
from autotrader.continuity.restoring import Restoring
from autotrader.db.dumps import database_of
from autotrader.domain.errors import BadData, ExitCode
from autotrader.files import storage_errors
from autotrader.ports.clock import WallClock

log = structlog.get_logger(__name__)


def verify(
    *, set: str = sets.LATEST, source: str | None = None, settings: Settings, clock: WallClock
) -> command.Result:
    """Restore a set into a scratch place, and compare it with what was copied, row by row.

    A dump of PostgreSQL is restored into a database of its own on the server of the settings, which
    is dropped afterwards. Exit code 1 if anything is lost or changed.

    Parameters
    ----------
    set : str
        Id of the set, or latest.
    source : str
        Folder or s3://bucket/prefix of the sets; default: the setting.
    """
    began = clock.monotonic()
    store = open_objects(source or settings.backup_uri, settings.aws)
    home = settings.home.resolve()
    above = beside(home)
    with storage_errors(f"write {above}"):
        above.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".verify-", dir=above))
    fault = None
    made = None
    try:
        made = sets.load(store, set)
        places = _scratch_places(settings, made, folder / "home")
        restoring = Restoring(made, Depot(store), places, settings.aws, folder, made.parts)
        try:
            restoring.stage(log.info)
        finally:
            restoring.drop_staged()
    except BadData as error:
        fault = str(error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = clock.monotonic() - began
    data = {
        "set": made.id if made else set,
        "sound": fault is None,
        "fault": fault,
        "seconds": round(seconds, 3),
    }
    if fault or made is None:
        return command.Result(data, f"set {set} CANNOT be restored: {fault}", ExitCode.FAILED)
    rows = sum(table.rows for part in made.databases for table in part.tables)
    files = sum(part.files for part in made.trees)
    text = f"set {made.id} was restored and is as it was: {rows:,} rows, {files:,} files, in {seconds:.1f} s"
    return command.Result(data, text)


def _scratch_places(settings: Settings, made: sets.BackupSet, folder: Path) -> Places:
    """A folder for all but PostgreSQL, which is restored beside the database that runs."""
    below, live = places_in(folder), places_of(settings)
    servers = {part.name for part in made.databases if part.kind == "postgresql"}
    databases = {
        name: database_of(live.databases[name]).sibling("verify").url if name in servers else url
        for name, url in below.databases.items()
    }
    return Places(databases, below.trees)


if __name__ == "__main__":
    raise SystemExit(command.run(verify))
