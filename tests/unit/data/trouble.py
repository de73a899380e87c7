"""Real trouble with storage: a write limit of the kernel, and a folder that is not ours."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

TROUBLES = [("full", "the disk is full"), ("read-only", "it is read-only")]

_NOBODY = 65534


@contextlib.contextmanager
def in_trouble(trouble: str, folder: Path) -> Iterator[None]:
    """As long as this lasts, files cannot grow, or the folder belongs to another user."""
    if trouble == "full":
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        return
    modes = {path: path.stat().st_mode for path in (folder, *folder.rglob("*"))}
    for path in modes:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        with _as_nobody(folder):
            yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


@contextlib.contextmanager
def _as_nobody(folder: Path) -> Iterator[None]:
    """Root may write everywhere: be someone else meanwhile."""
    user = os.geteuid()
    if user != 0:
        yield
        return
    for parent in folder.parents:
        if parent.stat().st_mode & 0o001 == 0:
            parent.chmod(parent.stat().st_mode | 0o011)
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
