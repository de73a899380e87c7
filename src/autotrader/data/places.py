"""Files in a local folder and objects in a bucket, through the same few functions.

A local file is written under a temporary name (`autotrader.files`); an object appears whole
when its upload ends, so that a kill leaves nothing at all.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from autotrader.domain.errors import ConfigurationError, Refused
from autotrader.files import (
    TEMPORARY_PREFIX,
    copy_atomically,
    local_folder,
    storage_errors,
    write_atomically,
    write_new_atomically,
)
from autotrader.ports.places import Bucket, Place


@dataclass(frozen=True, slots=True)
class ObjectPath:
    """A key of a bucket, with what the platform uses of `pathlib.Path`.

    Attributes
    ----------
    bucket : Bucket
    key : str
        Parts joined by `/`.
    """

    bucket: Bucket
    key: str

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]

    @property
    def parent(self) -> ObjectPath:
        return ObjectPath(self.bucket, self.key.rpartition("/")[0])

    def __truediv__(self, name: str) -> ObjectPath:
        return ObjectPath(self.bucket, f"{self.key}/{name}" if self.key else name)

    def __str__(self) -> str:
        return f"s3://{self.bucket.name}/{self.key}"

    @property
    def prefix(self) -> str:
        """With which the keys of what lies below begin."""
        return f"{self.key}/" if self.key else ""

    def exists(self) -> bool:
        return self.bucket.find(self.key) is not None

    def read_bytes(self) -> bytes:
        return self.bucket.read(self.key)

    def unlink(self, missing_ok: bool = False) -> None:
        if not missing_ok and not self.exists():
            raise FileNotFoundError(str(self))
        self.bucket.delete([self.key])


def place_of(uri: str, bucket: Callable[[str], Bucket]) -> Place:
    """The place that a URI names.

    Parameters
    ----------
    uri : str
        A path, `file://` or `s3://bucket/prefix`.
    bucket : callable
        Opens a bucket by name.

    Raises
    ------
    ConfigurationError
        If the URI is of another kind.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme == "file":
        return local_folder(uri)
    name, _, prefix = rest.partition("/")
    if scheme != "s3" or not name:
        raise ConfigurationError(f"expected a folder or s3://bucket/prefix, was {uri}: change the setting")
    return ObjectPath(bucket(name), prefix.strip("/"))


def local_path(place: Place) -> Path:
    """The place, of which it is known that it is no object."""
    if not isinstance(place, Path):
        raise TypeError(f"expected a path or an object's, was {type(place).__name__}")
    return place


def write_whole(place: Place, content: bytes, *, durable: bool = True) -> None:
    """Make the file, whole or not at all, in place of what was there.

    Parameters
    ----------
    durable : bool
        Whether it outlives a power cut; an object always does.
    """
    if isinstance(place, ObjectPath):
        place.bucket.write(place.key, content)
    else:
        write_atomically(local_path(place), content, durable=durable)


def write_new(place: Place, content: Callable[[], bytes]) -> bool:
    """Make the file, durably, unless it is there; of several at once, one is told True."""
    if isinstance(place, ObjectPath):
        return place.bucket.write_new(place.key, content())
    path = local_path(place)
    with storage_errors(f"write {path}"):
        is_there = path.exists()
    return not is_there and write_new_atomically(path, content())


def send(file: Path, place: Place) -> None:
    """Make a file of the place with a local file's content, whole or not at all, whatever its size."""
    if isinstance(place, ObjectPath):
        place.bucket.put(place.key, file)
    else:
        copy_atomically(file, local_path(place))


def bring(place: Place, file: Path) -> None:
    """Copy a file of the place to a local one, whose folder is there; raises FileNotFoundError."""
    if isinstance(place, ObjectPath):
        place.bucket.fetch(place.key, file)
    else:
        copy_atomically(local_path(place), file)


def files_in(folder: Place) -> list[Place]:
    """Files right in the folder, in order of name; empty if there is no folder."""
    if isinstance(folder, ObjectPath):
        below = len(folder.prefix)
        names = (found.key[below:] for found in folder.bucket.below(folder.prefix))
        return [folder / name for name in names if "/" not in name]
    path = local_path(folder)
    if not path.is_dir():
        return []
    return list[Place](sorted(p for p in path.iterdir() if not p.name.startswith(TEMPORARY_PREFIX)))


def folders_in(folder: Place) -> list[Place]:
    """Folders right in the folder, in order of name; empty if there is no folder."""
    if isinstance(folder, ObjectPath):
        return [folder / name for name in folder.bucket.folders(folder.prefix)]
    path = local_path(folder)
    return list[Place](sorted(p for p in path.iterdir() if p.is_dir())) if path.is_dir() else []


def changed_at(folder: Place) -> float:
    """When something was last added to the folder, in seconds since 1970."""
    if isinstance(folder, ObjectPath):
        return max((f.modified.timestamp() for f in folder.bucket.below(folder.prefix)), default=0.0)
    return local_path(folder).stat().st_mtime


def delete_folder(folder: Place) -> None:
    """Delete the folder and all below it, as far as that succeeds; fine if there is none."""
    if isinstance(folder, ObjectPath):
        folder.bucket.delete(found.key for found in folder.bucket.below(folder.prefix))
    else:
        shutil.rmtree(local_path(folder), ignore_errors=True)


def those_there(root: Place, names: Iterable[str]) -> list[str]:
    """Those of the names, relative to the root, that are files."""
    wanted = list(names)
    if isinstance(root, ObjectPath) and wanted:
        found = {listed.key for listed in root.bucket.below(root.prefix)}
        return [name for name in wanted if (root / name).key in found]
    return [name for name in wanted if (root / name).exists()]


def require_exclusive_writes(root: Place) -> None:
    """See that of two writers who make the same file one is refused, on which commits rely.

    Raises
    ------
    Refused
        If the object store takes `If-None-Match` and does not heed it.
    """
    if not isinstance(root, ObjectPath):
        return
    probe = root / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    try:
        if probe.bucket.write_new(probe.key, b"") and probe.bucket.write_new(probe.key, b""):
            raise Refused(
                f"expected an object store that heeds If-None-Match at {root}, was one that overwrites: "
                "two writers would undo each other's commits; use another store"
            )
    finally:
        probe.unlink(missing_ok=True)
