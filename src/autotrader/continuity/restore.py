"""Bring a backup set back."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import structlog

from autotrader import command
from autotrader.adapters.objects import open_objects
from autotrader.adapters.processes import ProcessTable
from autotrader.config.actor import operator
from autotrader.config.settings import Settings
from autotrader.continuity import sets
from autotrader.continuity.confirmation import require_confirmation
from autotrader.continuity.depot import Depot
from autotrader.continuity.fencing import fence_accounts
from autotrader.continuity.places import MAIN, beside, places_in, places_of
from autotrader.continuity.restoring import Restoring, swap_under_way
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.domain.errors import BadData, ConfigurationError, Refused
from autotrader.files import storage_errors
from autotrader.ports.clock import WallClock
from autotrader.ports.events import Event, EventType
from autotrader.registry.lifecycle import require_reason

log = structlog.get_logger(__name__)


def restore(
    *,
    reason: str,
    set: str = sets.LATEST,
    source: str | None = None,
    to: Path | None = None,
    only: tuple[str, ...] = (),
    into_empty: bool = False,
    confirm: str | None = None,
    dry_run: bool = False,
    settings: Settings,
    clock: WallClock,
) -> command.Result:
    """Bring a backup set back, every object and row of it checked before anything is touched.

    What is there already is moved aside, never deleted, and only after the set's id was typed. A
    restore that was killed is run again, and goes on. Every account comes back halted: its trader
    reconciles with the broker, and a person resumes it (`autotrader risk resume`).

    Parameters
    ----------
    reason : str
        Why; kept in the event log.
    set : str
        Id of the set, or latest.
    source : str
        Folder or s3://bucket/prefix of the sets; default: the setting.
    to : Path
        A folder that becomes a home of its own; default: the places of the settings.
    only : str
        Parts of the set, such as lake archive; default: all.
    into_empty : bool
        Refuse, without asking, where anything is there already.
    confirm : str
        The id of the set, for automation; typed otherwise.
    dry_run : bool
        Say what would be replaced, and change nothing.
    """
    reason = require_reason(reason)
    began = clock.monotonic()
    store = open_objects(source or settings.backup_uri, settings.aws)
    home = (to or settings.home).resolve()
    above = beside(home)
    progress = above / f"{home.name}.restore.json"
    under_way = swap_under_way(progress)
    if under_way and set in (sets.LATEST, under_way[0]):
        set = under_way[0]
    elif under_way:
        raise Refused(
            f"expected set {under_way[0]}, half of which is in its place, was {set}: restore it first"
        )
    made = sets.load(store, set)
    parts = _parts(made, only)
    with storage_errors(f"write {above}"):
        above.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".restore-", dir=above))
    try:
        places = places_in(home) if to else places_of(settings)
        restoring = Restoring(made, Depot(store), places, settings.aws, scratch, parts)
        occupied = restoring.occupied()
        if dry_run:
            return _would(made, parts, occupied)
        if not under_way:
            _require_free(restoring, made, occupied, home, into_empty=into_empty, confirm=confirm)
            _stage(restoring)
        aside = under_way[1] if under_way else f"replaced_{clock.now():%Y%m%dT%H%M%S%fZ}"
        moved = restoring.swap(progress, aside, log.info)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    halted = _tell(places.databases[MAIN], clock, made, reason) if MAIN in parts else []
    seconds = clock.monotonic() - began
    data = {
        "set": made.id,
        "as_of": made.as_of,
        "parts": parts,
        "moved_aside": moved,
        "halted": halted,
        "seconds": round(seconds, 3),
    }
    lines = [f"set {made.id} (as of {made.as_of:%F %T} UTC) is back in {seconds:.1f} s: {', '.join(parts)}"]
    lines += [f"  what was there is now {place}" for place in moved]
    lines += [
        f"  account {account} is halted: autotrader risk resume --account {account}" for account in halted
    ]
    return command.Result(data, "\n".join(lines))


def _parts(made: sets.BackupSet, only: tuple[str, ...]) -> list[str]:
    have = made.parts
    unknown = [name for name in only if name not in have]
    if unknown:
        raise ConfigurationError(
            f"expected parts of set {made.id} ({', '.join(have)}), was {', '.join(unknown)}"
        )
    return [name for name in have if not only or name in only]


def _require_free(
    restoring: Restoring,
    made: sets.BackupSet,
    occupied: list[str],
    home: Path,
    *,
    into_empty: bool,
    confirm: str | None,
) -> None:
    if not occupied:
        return
    if into_empty:
        raise Refused(f"expected nothing to be there, was {', '.join(occupied)}: nothing was changed")
    users = [*_running(home), *restoring.in_use()]
    if users:
        raise Refused(f"expected nobody to use what is replaced, was {'; '.join(users)}: stop them first")
    require_confirmation(
        made.id, confirm, what=f"{', '.join(occupied)} will be moved aside for set {made.id}"
    )


def _stage(restoring: Restoring) -> None:
    try:
        restoring.stage(log.info)
    except BadData:  # no other attempt will fare better: another set must be used
        restoring.drop_staged()
        raise


def _running(home: Path) -> list[str]:
    if not (home / "processes").is_dir():
        return []
    table = ProcessTable(home / "processes")
    return [f"{name} runs" for name in table.names() if table.process(name) is not None]


def _would(made: sets.BackupSet, parts: list[str], occupied: list[str]) -> command.Result:
    data = {"set": made.id, "as_of": made.as_of, "parts": parts, "would_move_aside": occupied}
    lines = [f"would restore set {made.id} (as of {made.as_of:%F %T} UTC): {', '.join(parts)}"]
    return command.Result(data, "\n".join([*lines, *(f"  would move aside {place}" for place in occupied)]))


def _tell(url: str, clock: WallClock, made: sets.BackupSet, reason: str) -> list[str]:
    engine = open_database(url)
    try:
        occasion = f"restore-{made.id}"
        halted = fence_accounts(
            engine, clock, occasion=occasion, actor=operator(), reason=f"restored from a backup: {reason}"
        )
        SqlEventLog(engine).record(
            Event(
                key=f"{occasion}-{clock.now():%Y%m%dT%H%M%S%f}",
                type=EventType.RECOVERY,
                severity="warning",
                message=f"backup set {made.id}, as of {made.as_of:%F %T} UTC, was restored: {reason}",
                actor=operator(),
                at=clock.now(),
                data={"set": made.id, "as_of": made.as_of, "halted": halted},
            )
        )
    finally:
        engine.dispose()
    return halted


if __name__ == "__main__":
    raise SystemExit(command.run(restore))
