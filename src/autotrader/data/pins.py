"""Pins: versions of a table that vacuum must leave readable, and who needs them."""

from __future__ import annotations

from urllib.parse import unquote

from autotrader.data.places import files_in, write_whole
from autotrader.files import file_name, storage_errors
from autotrader.ports.places import Place

_FOLDER = "_pins"  # Delta leaves names with a leading underscore alone


def pin(root: Place, version: int, owner: str) -> None:
    """Keep the version for the owner, on top of what it keeps already."""
    write_whole(_path(root, version, owner), b"")


def unpin(root: Place, owner: str) -> None:
    """Give up all of the owner's pins; fine if there are none."""
    for path in files_in(root / _FOLDER):
        if path.name.partition("@")[2] == file_name(owner):
            with storage_errors(f"delete {path}"):
                path.unlink(missing_ok=True)


def pinned(root: Place) -> dict[int, list[str]]:
    """Version to its owners, both in order."""
    found: dict[int, list[str]] = {}
    for path in files_in(root / _FOLDER):
        version, _, owner = path.name.partition("@")
        found.setdefault(int(version), []).append(unquote(owner))
    return dict(sorted(found.items()))


def _path(root: Place, version: int, owner: str) -> Place:
    return root / _FOLDER / f"{version}@{file_name(owner)}"
