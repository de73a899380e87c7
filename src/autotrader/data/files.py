"""Local files: written whole or not at all, with storage trouble told in one line."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from autotrader.domain.errors import ConfigurationError, DependencyError, Rejected

TEMPORARY_PREFIX = ".tmp-"

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}
# deltalake words the operating system's answer instead of passing its number on.
_FULL_WORDS = ("no space left", "file too large", "quota exceeded")
_FORBIDDEN_WORDS = ("read-only file system", "permission denied", "operation not permitted")


def local_folder(uri: str, *, what: str) -> Path:
    """The folder that a URI names.

    Raises
    ------
    ConfigurationError
        If the URI names an object store: those are not supported yet.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return Path(uri)
    if scheme == "file":
        return Path(rest)
    raise ConfigurationError(
        f"expected a local folder for the {what}, was {uri}: {scheme}:// is not supported yet, give a path"
    )


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
        raise _explained(doing, error) from error


def _explained(doing: str, error: OSError) -> DependencyError:
    words = str(error).lower()
    if error.errno in _FULL or any(w in words for w in _FULL_WORDS):
        return Rejected(f"cannot {doing}: the disk is full: free space, then run again")
    if error.errno in _FORBIDDEN or any(w in words for w in _FORBIDDEN_WORDS):
        return Rejected(f"cannot {doing}: it is read-only: make it writable, then run again")
    return DependencyError(f"cannot {doing}: {error.strerror or ' '.join(str(error).split())}")


def write_atomically(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Make the file with this content: whoever looks, now or after a kill, finds it whole or not at all.

    Parameters
    ----------
    durable : bool
        Whether the same holds after a power cut: costs a sync of the file and of its folder.

    Raises
    ------
    Rejected, DependencyError
        If the storage does not let us; nothing is left behind.
    """
    temporary = path.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    with storage_errors(f"write {path}"):
        changed = [path.parent, *_missing_parents(path.parent)]
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        if durable:
            for folder in changed:
                _sync_folder(folder)


def _missing_parents(folder: Path) -> list[Path]:
    """Parents in which an entry is made when the folder is: those of missing folders."""
    missing = []
    while not folder.exists():
        folder = folder.parent
        missing.append(folder)
    return missing


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
