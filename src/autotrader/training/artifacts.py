"""Names of what training makes, by content, and locks of this machine."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from autotrader.command import to_plain
from autotrader.files import storage_errors


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
