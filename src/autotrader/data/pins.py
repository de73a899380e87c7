"""Pins: versions of a table that vacuum must leave readable, and who needs them."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from autotrader.data.files import file_name, storage_errors, write_atomically

_FOLDER = "_pins"  # Delta leaves names with a leading underscore alone


def pin(root: Path, version: int, owner: str) -> None:
    """Keep the version for the owner, on top of what it keeps already."""
    write_atomically(_path(root, version, owner), b"")


def unpin(root: Path, owner: str) -> None:
    """Give up all of the owner's pins; fine if there are none."""
    for path in (root / _FOLDER).glob(f"*@{file_name(owner)}"):
        with storage_errors(f"delete {path}"):
            path.unlink(missing_ok=True)


def pinned(root: Path) -> dict[int, list[str]]:
    """Version to its owners, both in order."""
    found: dict[int, list[str]] = {}
    for path in sorted((root / _FOLDER).glob("*@*")):
        version, _, owner = path.name.partition("@")
        found.setdefault(int(version), []).append(unquote(owner))
    return dict(sorted(found.items()))


def _path(root: Path, version: int, owner: str) -> Path:
    return root / _FOLDER / f"{version}@{file_name(owner)}"
