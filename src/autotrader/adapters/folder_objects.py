"""Objects as files below a folder."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from autotrader.domain.errors import BadData, NotFound
from autotrader.files import (
    TEMPORARY_PREFIX,
    copy_atomically,
    storage_errors,
    write_atomically,
    write_new_atomically,
)
from autotrader.ports.objects import StoredObject

_CHUNK_BYTES = 1 << 20


class FolderObjects:
    """A folder, made with the first object.

    Parameters
    ----------
    root : Path
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    @property
    def uri(self) -> str:
        return str(self._root)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        above = self._root / prefix.rpartition("/")[0]
        with storage_errors(f"list {above}"):
            for folder, _, names in os.walk(above, onerror=_raise):
                for name in names:
                    path = Path(folder, name)
                    key = path.relative_to(self._root).as_posix()
                    if key.startswith(prefix) and not name.startswith(TEMPORARY_PREFIX):
                        with contextlib.suppress(FileNotFoundError):  # gone since it was listed
                            yield _described(key, path)

    def find(self, key: str) -> StoredObject | None:
        path = self._path(key)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), storage_errors(f"look at {path}"):
            return _described(key, path) if path.is_file() else None
        return None

    def put(self, key: str, file: Path) -> None:
        copy_atomically(file, self._path(key))

    def fetch(self, key: str, file: Path) -> None:
        path = self._path(key)
        try:
            with (
                storage_errors(f"copy {path} to {file}"),
                path.open("rb") as source,
                file.open("wb") as target,
            ):
                shutil.copyfileobj(source, target, _CHUNK_BYTES)
        except FileNotFoundError:
            raise NotFound(f"expected an object {key} in {self._root}, was none") from None

    def read(self, key: str) -> bytes:
        path = self._path(key)
        try:
            with storage_errors(f"read {path}"):
                return path.read_bytes()
        except FileNotFoundError:
            raise NotFound(f"expected an object {key} in {self._root}, was none") from None

    def write(self, key: str, content: bytes) -> None:
        write_atomically(self._path(key), content)

    def write_new(self, key: str, content: bytes) -> bool:
        return write_new_atomically(self._path(key), content)

    def delete(self, key: str) -> None:
        path = self._path(key)
        with storage_errors(f"delete {path}"):
            path.unlink(missing_ok=True)

    def rename(self, key: str, to: str) -> None:
        path, target = self._path(key), self._path(to)
        try:
            with storage_errors(f"rename {path} to {target}"):
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
        except FileNotFoundError:
            raise NotFound(f"expected an object {key} in {self._root}, was none") from None

    def _path(self, key: str) -> Path:
        parts = PurePosixPath(key).parts
        if not parts or parts[0] == "/" or ".." in parts:
            raise BadData(f"expected a key below {self._root}, was {key!r}")
        return self._root.joinpath(*parts)


def _described(key: str, path: Path) -> StoredObject:
    found = path.stat()
    modified = datetime.fromtimestamp(found.st_mtime, UTC)
    return StoredObject(key, found.st_size, f"{found.st_mtime_ns}-{found.st_ino}", modified)


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
