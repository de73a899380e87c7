"""Which sets are kept, and which objects nobody needs any more."""

from __future__ import annotations

from pathlib import Path

from autotrader.continuity import sets
from autotrader.continuity.depot import Depot
from autotrader.continuity.trees import kept_files
from autotrader.domain.errors import BadData
from autotrader.ports.objects import ObjectStore


def forget_old_sets(store: ObjectStore, depot: Depot, scratch: Path, *, keep: int) -> list[str]:
    """Forget all complete sets but the newest, incomplete ones, and objects that no kept set has.

    Only for whoever holds the lock of backups: an incomplete set is then under way nowhere.

    Returns
    -------
    list of str
        Ids of complete sets that were forgotten.
    """
    complete = sets.complete_ids(store)
    kept, forgotten = complete[:keep], complete[keep:]
    for set_id in (*forgotten, *sets.incomplete_ids(store)):
        sets.forget(store, set_id)
    wanted: set[str] = set()
    for set_id in kept:
        try:
            wanted |= _objects_of(sets.load(store, set_id), depot, scratch)
        except BadData:
            # What it needs cannot be told any more, so nothing may be deleted; `verify` tells of it.
            return forgotten
    depot.keep_only(wanted)
    return forgotten


def _objects_of(kept: sets.BackupSet, depot: Depot, scratch: Path) -> set[str]:
    found = {part.sha256 for part in kept.databases} | {part.index_sha256 for part in kept.trees}
    for part in kept.trees:
        found |= {file.sha256 for file in kept_files(part, depot, scratch)}
    return found
