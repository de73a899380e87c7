"""Trees of files into a depot and back; what did not change since the last set is not read again."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from autotrader.continuity import lake_versions
from autotrader.continuity.depot import Depot, sha256_of
from autotrader.continuity.sets import TreePart
from autotrader.domain.errors import NotFound, Unreachable
from autotrader.files import storage_errors
from autotrader.ports.objects import ObjectStore, StoredObject


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file of a tree, as a set holds it."""

    path: str
    size: int
    sha256: str
    stamp: str


def keep_tree(
    name: str,
    source: ObjectStore,
    depot: Depot,
    scratch: Path,
    *,
    before: Mapping[str, KeptFile],
    is_lake: bool,
) -> TreePart:
    """Copy a tree into the depot.

    Parameters
    ----------
    before : Mapping[str, KeptFile]
        The tree's files in the newest set, by path.
    is_lake : bool
        Whether its folders are Delta tables, of which one version each is to be copied.

    Raises
    ------
    Unreachable
        If a file that a table needs is deleted meanwhile: another attempt will fare better.
    """
    planned = lake_versions.plan(source) if is_lake else lake_versions.LakePlan(list(source.list()))
    index = scratch / f"{name}.index"
    files = size = 0
    with gzip.GzipFile(index, "wb", mtime=0) as lines:  # equal trees have equal indexes
        for found in sorted(planned.files, key=lambda file: file.key):
            try:
                kept = _keep(found, source, depot, scratch / "file", before.get(found.key))
            except NotFound:
                if found.key in planned.required:
                    raise Unreachable(
                        f"cannot copy {source.uri}/{found.key}: it was deleted meanwhile: run again"
                    ) from None
                continue
            lines.write(json.dumps(asdict(kept)).encode() + b"\n")
            files += 1
            size += kept.size
    digest = sha256_of(index)
    depot.add(index, digest)
    return TreePart(name, files, size, digest, tuple(planned.tables))


def kept_files(part: TreePart, depot: Depot, scratch: Path) -> Iterator[KeptFile]:
    """The files of a tree in a set, in order of path."""
    index = scratch / f"{part.name}.kept"
    depot.fetch(part.index_sha256, index, what=f"the list of {part.name}")
    with gzip.open(index) as lines:
        for line in lines:
            yield KeptFile(**json.loads(line))


def bring_back(
    files: Iterable[KeptFile], depot: Depot, target: ObjectStore, scratch: Path, *, what: str
) -> int:
    """Copy files to a place, each checked; one that is there from an attempt before is left.

    Returns
    -------
    int
        How many there are.
    """
    there = {found.key: found.size for found in target.list()}
    count = 0
    for kept in files:
        count += 1
        if there.get(kept.path) == kept.size and _digest_at(target, kept.path, scratch) == kept.sha256:
            continue
        file = scratch / "file"
        depot.fetch(kept.sha256, file, what=f"{what}/{kept.path}")
        target.put(kept.path, file)
    return count


def _keep(
    found: StoredObject, source: ObjectStore, depot: Depot, copy: Path, before: KeptFile | None
) -> KeptFile:
    if (
        before
        and (before.size, before.stamp) == (found.size, found.stamp)
        and depot.has(before.sha256, found.size)
    ):
        return before
    # A copy of our own: the original may be written to between its reading and its copying.
    source.fetch(found.key, copy)
    digest = sha256_of(copy)
    with storage_errors(f"read {copy}"):
        size = copy.stat().st_size
    depot.add(copy, digest)
    return KeptFile(found.key, size, digest, found.stamp)


def _digest_at(place: ObjectStore, key: str, scratch: Path) -> str:
    file = scratch / "there"
    place.fetch(key, file)
    return sha256_of(file)
