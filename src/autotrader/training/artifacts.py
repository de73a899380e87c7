"""Results of training steps on disk: named by content, published whole, read back as they were.

A step writes into a folder whose name is a hash of all that goes into it. The folder appears with
one rename when everything in it is on disk, so that a step killed at any instruction leaves either
nothing or all, and the same step asked for again finds what is there.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from autotrader.command import to_plain
from autotrader.data.files import storage_errors, write_atomically
from autotrader.domain.errors import BadData
from autotrader.plain import from_plain

RESULT_FILE = "result.json"

T = TypeVar("T")


def content_key(*parts: object) -> str:
    """A name for something that depends on these values and on nothing else.

    Parameters
    ----------
    *parts : object
        Anything that `command.to_plain` turns into JSON.

    Returns
    -------
    str
        24 hex digits of SHA-256: the chance of two of a billion being equal is below 1e-10.
    """
    text = json.dumps([to_plain(part) for part in parts], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def software() -> dict[str, str]:
    """Versions of what turns data into models: another version may make another model of the same data."""
    return {name: version(name) for name in ("autotrader", "lightgbm", "scikit-learn")}


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stored_result(folder: Path, kind: type[T]) -> T | None:
    """The result in a published folder; None where nothing is published.

    The folder's own time of change becomes now, which says that the result is still of use.

    Raises
    ------
    BadData
        If the file is there but cannot be read as `kind`.
    Rejected
        If the storage does not let us.
    """
    try:
        text = (folder / RESULT_FILE).read_text()
    except FileNotFoundError:
        return None
    with storage_errors(f"mark {folder} as used"):
        os.utime(folder)
    try:
        data = json.loads(text)
    except ValueError:
        raise BadData(f"expected JSON in {folder / RESULT_FILE}: delete the folder and run again") from None
    return from_plain(kind, data)


def write_result(folder: Path, result: object) -> None:
    """Put a step's result beside its files."""
    write_atomically(folder / RESULT_FILE, json.dumps(to_plain(result), indent=1).encode())


@contextlib.contextmanager
def published(folder: Path) -> Iterator[Path]:
    """A staging folder that becomes `folder` in one rename when the block ends well.

    If another process published the folder meanwhile, that one stays: same name, same content.

    Raises
    ------
    Rejected, DependencyError
        If the storage does not let us; nothing is left behind.
    """
    with storage_errors(f"write {folder}"), _staging_of(folder) as staging:
        yield staging
        for path in staging.rglob("*"):
            if path.is_file():
                _sync(path)
        _sync(staging)
        try:
            staging.rename(folder)
        except OSError:
            if not (folder / RESULT_FILE).exists():
                raise
        _sync(folder.parent)


@contextlib.contextmanager
def exclusive(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock file alone on this machine; the hold ends with the process.

    Raises
    ------
    BlockingIOError
        If it is held, and we are not to wait.
    """
    with _held(path, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB):
        yield


@contextlib.contextmanager
def shared(path: Path) -> Iterator[None]:
    """Hold a lock file beside others that share it; waits for one that has it alone."""
    with _held(path, fcntl.LOCK_SH):
        yield


@contextlib.contextmanager
def _held(path: Path, operation: int) -> Iterator[None]:
    with storage_errors(f"lock {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    with file:
        fcntl.flock(file, operation)
        yield


@contextlib.contextmanager
def _staging_of(folder: Path) -> Iterator[Path]:
    """A folder beside the one to be, locked as long as we live; those that the dead left are removed."""
    prefix = f".{folder.name}."
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with _locked(folder.parent):  # or one that is made just now would look as if left
            for left in folder.parent.glob(f"{prefix}*"):
                with contextlib.suppress(BlockingIOError, FileNotFoundError), _locked(left, fcntl.LOCK_NB):
                    shutil.rmtree(left, ignore_errors=True)
            staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=prefix))
            stack.callback(shutil.rmtree, staging, ignore_errors=True)
            stack.enter_context(_locked(staging))
        yield staging


@contextlib.contextmanager
def _locked(folder: Path, flags: int = 0) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | flags)
        yield
    finally:
        os.close(descriptor)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
