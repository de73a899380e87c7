"""Which files of a lake belong to the newest version of each of its tables, read from the logs alone.

A log is never cleaned up (`data/delta_log.py`), so its commits tell every file that a version has.
Protocol: https://github.com/delta-io/delta/blob/master/PROTOCOL.md
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from autotrader.continuity.sets import LakeTable
from autotrader.domain.errors import BadData
from autotrader.ports.objects import ObjectStore, StoredObject

_LOG = "/_delta_log/"
_OF_RUNS = ("_staging/", "_training/")  # of an S3 lake (`Settings.staging_uri`); made again, not kept
_COMMIT = re.compile(r"\d{20}\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint.*\.parquet")
_PIN = re.compile(r".*/_pins/(\d+)@[^/]+")


@dataclass
class LakePlan:
    """What to copy of a lake.

    Attributes
    ----------
    files : list of StoredObject
        Commits and checkpoints, files that a commit names, pins, and what belongs to no table.
    required : set of str
        Keys of those that the newest and the pinned versions have.
    tables : list of LakeTable
    """

    files: list[StoredObject] = field(default_factory=list)
    required: set[str] = field(default_factory=set)
    tables: list[LakeTable] = field(default_factory=list)


def plan(store: ObjectStore) -> LakePlan:
    """Fix the version of each table, and list what it needs.

    Raises
    ------
    BadData
        If a commit or a file that a version needs is missing.
    """
    listed = [found for found in store.list() if not found.key.startswith(_OF_RUNS)]
    roots = {found.key.partition(_LOG)[0] for found in listed if _LOG in found.key}
    of_table: dict[str | None, list[StoredObject]] = defaultdict(list)
    for found in listed:
        of_table[_table_of(found.key, roots)].append(found)
    made = LakePlan(files=of_table.pop(None, []))
    for root in sorted(roots):
        _plan_table(store, root, of_table[root], made)
    return made


def _table_of(key: str, roots: set[str]) -> str | None:
    parts = key.split("/")
    return next((root for n in range(1, len(parts)) if (root := "/".join(parts[:n])) in roots), None)


def _plan_table(store: ObjectStore, root: str, listed: Sequence[StoredObject], made: LakePlan) -> None:
    by_key = {found.key: found for found in listed}
    commits = sorted(key for key in by_key if key.startswith(root + _LOG) and _COMMIT.fullmatch(_name(key)))
    newest = len(commits) - 1
    if not commits or int(_name(commits[-1])[:20]) != newest:
        raise BadData(f"expected every commit in the log of {store.uri}/{root}, was with gaps")
    pins = {int(match[1]) for key in by_key if (match := _PIN.fullmatch(key))}
    named: set[str] = set()
    present: dict[str, dict[str, Any]] = {}
    required: set[str] = set()
    for version, key in enumerate(commits):
        for line in store.read(key).splitlines():
            action = json.loads(line)
            if added := action.get("add"):
                present[unquote(added["path"])] = added
            if removed := action.get("remove"):
                present.pop(unquote(removed["path"]), None)
        named.update(present)
        if version == newest or version in pins:
            required.update(f"{root}/{path}" for path in present)
    missing = sorted(required - by_key.keys())
    if missing:
        raise BadData(
            f"expected {len(missing)} data files such as {store.uri}/{missing[0]}, was none: rebuild it"
        )
    wanted = {f"{root}/{path}" for path in named}
    made.files += [found for found in listed if found.key in wanted or _is_kept(found.key, newest)]
    made.required |= required
    made.tables.append(_table(root, newest, present.values()))


def _is_kept(key: str, newest: int) -> bool:
    name = _name(key)
    if _LOG in f"/{key}":
        checkpoint = _CHECKPOINT.fullmatch(name)
        # Not `_last_checkpoint`, which may speak of a version that was made meanwhile.
        return bool(_COMMIT.fullmatch(name)) or (checkpoint is not None and int(checkpoint[1]) <= newest)
    return bool(_PIN.fullmatch(key))


def _table(root: str, version: int, added: Iterable[dict[str, Any]]) -> LakeTable:
    rows, newest = 0, None
    for file in added:
        stats = json.loads(file.get("stats") or "{}")
        rows += int(stats.get("numRecords", 0))
        latest = stats.get("maxValues", {}).get("ts")
        newest = max(filter(None, (newest, latest)), default=None)
    return LakeTable(root, version, rows, newest)


def _name(key: str) -> str:
    return key.rpartition("/")[2]
