"""Backup sets: what one holds, and how it lies in its place.

objects/<aa>/<sha256>       content by its name: what two sets have in common is there once
sets/<id>/begun.json        who began it
sets/<id>/manifest.json     written last: a set without it is incomplete, and nobody restores it
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from autotrader.command import to_plain
from autotrader.db.dumps import TableContent
from autotrader.domain.errors import BadData, NotFound
from autotrader.ports.objects import ObjectStore

FORMAT = 1
SETS = "sets/"
OBJECTS = "objects/"
LATEST = "latest"
_MANIFEST = "/manifest.json"
_BEGUN = "/begun.json"


@dataclass(frozen=True, slots=True)
class DatabasePart:
    """A database's dump.

    Attributes
    ----------
    kind : str
        `sqlite` or `postgresql`: a dump of the one is none of the other.
    sha256 : str
        Of the dump, which is an object.
    tables : Sequence[TableContent]
        What the dump holds.
    """

    name: str
    kind: str
    sha256: str
    size: int
    tables: Sequence[TableContent]


@dataclass(frozen=True, slots=True)
class LakeTable:
    """The version of a lake's table that a set holds.

    Attributes
    ----------
    rows : int
    newest : str or None
        The latest `ts` of its rows.
    """

    name: str
    version: int
    rows: int
    newest: str | None


@dataclass(frozen=True, slots=True)
class TreePart:
    """A tree of files.

    Attributes
    ----------
    files, size : int
        How many, and their bytes.
    index_sha256 : str
        Of the object that lists them (`trees`).
    tables : Sequence[LakeTable]
        Where it is a lake.
    """

    name: str
    files: int
    size: int
    index_sha256: str
    tables: Sequence[LakeTable]


@dataclass(frozen=True, slots=True)
class BackupSet:
    """One complete set.

    Attributes
    ----------
    as_of : datetime
        Nothing that was written before is missing: what a loss after it costs is counted from here.
    absent : Sequence[str]
        Parts that did not exist.
    """

    id: str
    environment: str
    by: str
    began_at: datetime
    as_of: datetime
    completed_at: datetime
    databases: Sequence[DatabasePart]
    trees: Sequence[TreePart]
    absent: Sequence[str]

    @property
    def parts(self) -> list[str]:
        """Names of all that it holds."""
        return [part.name for part in self.databases] + [part.name for part in self.trees]

    @property
    def size(self) -> int:
        """Bytes of all that it holds, whether other sets share it or not."""
        return sum(part.size for part in self.databases) + sum(part.size for part in self.trees)


def begin(store: ObjectStore, set_id: str, *, by: str, at: datetime) -> bool:
    """Take the name for a set; False if it is taken."""
    content = json.dumps({"by": by, "at": at.isoformat()})
    return store.write_new(f"{SETS}{set_id}{_BEGUN}", content.encode())


def complete(store: ObjectStore, made: BackupSet) -> None:
    """Say that all of the set is there."""
    plain = to_plain(made)
    document = {"format": FORMAT, "sha256": _digest(plain), "set": plain}
    store.write(f"{SETS}{made.id}{_MANIFEST}", json.dumps(document, indent=1).encode())


def complete_ids(store: ObjectStore) -> list[str]:
    """Of all complete sets, newest first."""
    return sorted(_ids(store, _MANIFEST), reverse=True)


def incomplete_ids(store: ObjectStore) -> list[str]:
    """Of sets that were begun and not completed: under way, or given up."""
    return sorted(set(_ids(store, _BEGUN)) - set(_ids(store, _MANIFEST)), reverse=True)


def load(store: ObjectStore, set_id: str) -> BackupSet:
    """A complete set, by its id or `latest`.

    Raises
    ------
    NotFound
        If there is none, or it is incomplete.
    BadData
        If its manifest is not what was written.
    """
    known = complete_ids(store)
    wanted = known[0] if set_id == LATEST and known else set_id
    if wanted not in known:
        half = " (it was begun and never completed)" if wanted in incomplete_ids(store) else ""
        have = ", ".join(known[:5]) or "none"
        raise NotFound(
            f"expected a complete backup set in {store.uri} (newest: {have}), was {set_id!r}{half}"
        )
    key = f"{SETS}{wanted}{_MANIFEST}"
    try:
        document = json.loads(store.read(key))
        plain, digest, form = document["set"], document["sha256"], document["format"]
    except (ValueError, KeyError, TypeError):
        raise BadData(f"expected a manifest at {store.uri}/{key}, was damaged: use another set") from None
    if form != FORMAT:
        raise BadData(f"expected a backup set of format {FORMAT}, was {form}: use the release that made it")
    if _digest(plain) != digest or plain["id"] != wanted:
        raise BadData(
            f"expected the manifest that was written at {store.uri}/{key}, was changed: use another set"
        )
    return _set(plain)


def forget(store: ObjectStore, set_id: str) -> None:
    """Remove a set's name; its manifest first, so that half of it is no set."""
    store.delete(f"{SETS}{set_id}{_MANIFEST}")
    store.delete(f"{SETS}{set_id}{_BEGUN}")


def object_key(sha256: str) -> str:
    return f"{OBJECTS}{sha256[:2]}/{sha256}"


def _ids(store: ObjectStore, ending: str) -> list[str]:
    return [
        found.key.removeprefix(SETS).removesuffix(ending)
        for found in store.list(SETS)
        if found.key.endswith(ending)
    ]


def _digest(plain: object) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _set(plain: Mapping[str, Any]) -> BackupSet:
    times = ("began_at", "as_of", "completed_at")
    return BackupSet(
        **{
            **plain,
            **{name: datetime.fromisoformat(plain[name]) for name in times},
            "databases": tuple(
                DatabasePart(**{**part, "tables": tuple(TableContent(**t) for t in part["tables"])})
                for part in plain["databases"]
            ),
            "trees": tuple(
                TreePart(**{**part, "tables": tuple(LakeTable(**t) for t in part["tables"])})
                for part in plain["trees"]
            ),
        }
    )
