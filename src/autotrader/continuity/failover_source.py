"""What the database of the region gone to is made of: a snapshot, and a backup set where that is newer."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from autotrader.adapters.aws_database import RegionDatabase
from autotrader.config.settings import AwsSettings
from autotrader.continuity import sets
from autotrader.continuity.depot import Depot
from autotrader.continuity.places import MAIN, Places
from autotrader.continuity.restoring import Restoring
from autotrader.domain.errors import BadData, NotFound, Refused
from autotrader.ports.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class Source:
    """What was chosen.

    Attributes
    ----------
    snapshot : str or None
        That the instance is made of; None: the one that is there.
    backup_set : str or None
        Whose rows then take the place of those of the platform's database.
    lost : timedelta
        From what it holds to the loss of the other region.
    reason : str
        Why it is not a snapshot alone.
    """

    snapshot: str | None
    backup_set: str | None
    lost: timedelta
    reason: str = ""


def choose(
    database: RegionDatabase,
    backups: ObjectStore,
    *,
    lost_at: datetime,
    rpo: timedelta,
    accept_data_loss: bool,
) -> Source:
    """A snapshot within the objective; else a backup set that is, where there is a database to put it into.

    Raises
    ------
    NotFound
        If there is neither.
    Refused
        If all that there is is older, unless that is accepted.
    """
    newest = database.newest_snapshot()
    lost = None if newest is None else max(lost_at - newest.created_at, timedelta(0))
    if newest is not None and lost is not None and lost <= rpo:
        return Source(newest.id, None, lost)
    was = "none" if newest is None else f"{newest.id} of {newest.created_at:%F %T} UTC"
    if newest is not None or database.instance() is not None:
        made = _newest_set(backups)
        missed = None if made is None else max(lost_at - made.as_of, timedelta(0))
        if made is not None and missed is not None and missed <= rpo:
            reason = f"expected a snapshot of the last {rpo}, was {was}: set {made.id} is newer"
            return Source(None if newest is None else newest.id, made.id, missed, reason)
    if newest is None or lost is None:
        raise NotFound(
            "expected a snapshot of the database, or a database and a set of the last"
            f" {rpo} in {backups.uri}, was none: make a database there, and restore a set into it (runbook)"
        )
    if not accept_data_loss:
        raise Refused(
            f"expected a snapshot of the last {rpo}, or a set in {backups.uri}, was {was}: "
            f"{lost} would be lost; --accept-data-loss goes on"
        )
    return Source(newest.id, None, lost)


def bring_back(
    set_id: str,
    backups: ObjectStore,
    url: str,
    aws: AwsSettings,
    *,
    now: datetime,
    tell: Callable[[str], None],
) -> tuple[list[str], list[str]]:
    """Put the rows of a set into the platform's database; run again, it does so again.

    Returns
    -------
    moved, left : list of str
        Where the rows of before are; databases of the set that stay those of the snapshot.
    """
    made = sets.load(backups, set_id)
    scratch = Path(tempfile.mkdtemp(prefix="autotrader-failover-"))
    try:
        restoring = Restoring(made, Depot(backups), Places({MAIN: url}, {}), aws, scratch, (MAIN,))
        restoring.stage(tell)
        moved = restoring.swap(scratch / "swap.json", f"replaced_{now:%Y%m%dT%H%M%S%fZ}", tell)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return moved, [part.name for part in made.databases if part.name != MAIN]


def _newest_set(backups: ObjectStore) -> sets.BackupSet | None:
    """Complete, and with the platform's database in it."""
    for set_id in sets.complete_ids(backups):
        with contextlib.suppress(BadData):  # its manifest is damaged: the one before may do
            made = sets.load(backups, set_id)
            if MAIN in made.parts:
                return made
    return None
