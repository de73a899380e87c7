"""Local files: written whole or not at all, with storage trouble told in one line.

A kill amid a write leaves a file of a temporary name. Its writer held a lock on it, which ended with
the process: whoever next writes into the folder removes what nobody holds any more.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from autotrader.domain.errors import ConfigurationError, DependencyError, Rejected

TEMPORARY_PREFIX = ".tmp-"
PUBLIC, SECRET = 0o666, 0o600
CRUMB_AGE = timedelta(minutes=2)  # far more than from making a file to locking it

_SWEPT_FOLDERS = 4096  # remembered
_CHUNK_BYTES = 1 << 20

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}
# deltalake words the operating system's answer instead of passing its number on.
_FULL_WORDS = ("no space left", "file too large", "quota exceeded")
_FORBIDDEN_WORDS = ("read-only file system", "permission denied", "operation not permitted")


def local_folder(uri: str) -> Path:
    """The folder that a path or a `file://` URI names.

    Raises
    ------
    ConfigurationError
        If the URI is of another kind.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return Path(uri)
    if scheme == "file":
        return Path(rest)
    raise ConfigurationError(f"expected a local folder, was {uri}: give a path")


def file_name(text: str) -> str:
    """The text as one path component: reversible, and never `.` or `..`."""
    quoted = quote(text, safe="")
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted


@contextlib.contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn what the operating system says of a file into one clear line.

    Parameters
    ----------
    doing : str
        What is being done to which file: `write /lake/bars/...`.

    Raises
    ------
    Rejected
        If the disk is full, or the place may not be written.
    DependencyError
        For any other trouble with the storage.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise explained_locally(doing, error) from error


def explained_locally(doing: str, error: OSError) -> DependencyError:
    """What `storage_errors` raises for the error."""
    words = str(error).lower()
    if error.errno in _FULL or any(w in words for w in _FULL_WORDS):
        return Rejected(f"cannot {doing}: the disk is full: free space, then run again")
    if error.errno in _FORBIDDEN or any(w in words for w in _FORBIDDEN_WORDS):
        return Rejected(f"cannot {doing}: it is read-only: make it writable, then run again")
    return DependencyError(f"cannot {doing}: {error.strerror or ' '.join(str(error).split())}")


def write_atomically(path: Path, content: bytes, *, durable: bool = True, mode: int = PUBLIC) -> None:
    """Make the file with this content: whoever looks, now or after a kill, finds it whole or not at all.

    Parameters
    ----------
    durable : bool
        Whether the same holds after a power cut: costs a sync of the file and of its folder.
    mode : int
        Who may read it, from its first byte on; the process's umask takes from that.

    Raises
    ------
    Rejected, DependencyError
        If the storage does not let us; nothing is left behind.
    """
    _make(path, lambda file: file.write(content), Path.replace, durable=durable, mode=mode)


def write_new_atomically(path: Path, content: bytes, *, mode: int = PUBLIC) -> bool:
    """`write_atomically`, durably, unless the file is there; of several at once, one is told True.

    Raises
    ------
    Rejected, DependencyError
        If the storage does not let us; nothing is left behind.
    """
    is_new = False

    def link(made: Path, path: Path) -> None:
        nonlocal is_new
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(made)
            is_new = True
        made.unlink()

    _make(path, lambda file: file.write(content), link, mode=mode)
    return is_new


def copy_atomically(source: Path, path: Path) -> None:
    """`write_atomically`, durably, of a file's content, whatever its size."""

    def copy(target: BinaryIO) -> None:
        with source.open("rb") as file:
            shutil.copyfileobj(file, target, _CHUNK_BYTES)

    _make(path, copy, Path.replace)


def _make(
    path: Path,
    fill: Callable[[BinaryIO], object],
    publish: Callable[[Path, Path], object],
    *,
    durable: bool = True,
    mode: int = PUBLIC,
) -> None:
    """Fill a file of a temporary name, and give it its name when it is whole."""
    temporary = path.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    with storage_errors(f"write {path}"):
        changed = [path.parent, *_missing_parents(path.parent)]
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep_once(path.parent)
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                hold(file)
                fill(file)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
                publish(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        if durable:
            for folder in changed:
                sync(folder)


def hold(file: BinaryIO) -> None:
    """Say that somebody who lives is writing the file, for as long as it is open."""
    fcntl.flock(file, fcntl.LOCK_SH)


def remove_crumbs(folder: Path, *, older_than: timedelta = CRUMB_AGE) -> int:
    """Delete what killed writers left in the folder; returns how many files.

    A file stays if it is younger, or if its writer lives.
    """
    removed = 0
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError):  # renamed meanwhile; or in use
            if time.time() - path.stat().st_mtime > older_than.total_seconds():
                with path.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                removed += 1
    return removed


@lru_cache(maxsize=_SWEPT_FOLDERS)
def sweep_once(folder: Path) -> None:
    """Remove crumbs from a folder that is about to be written to; once a process, as runs are processes."""
    remove_crumbs(folder)


def _missing_parents(folder: Path) -> list[Path]:
    """Parents in which an entry is made when the folder is: those of missing folders."""
    missing = []
    while not folder.exists():
        folder = folder.parent
        missing.append(folder)
    return missing


def sync(path: Path) -> None:
    """Bring a file's content, or a folder's entries, to the disk; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
