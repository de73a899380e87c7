"""The paper venue's memory: one line of JSON a change, on disk before anybody hears of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from autotrader.domain.errors import BadData
from autotrader.files import sync


class PaperJournal:
    """Append-only file; a line that a kill cut short was never written.

    Each opening puts a copy in the file's place: an earlier process that still has it open, stopped
    when another took its lease and awake again, writes to what nobody reads.

    Parameters
    ----------
    path : Path
        Made with its folder where it is not there.
    durable : bool
        Whether a line survives a power cut, and not only a kill.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._durable = durable
        content = path.read_bytes() if path.exists() else b""
        self._found = content[: content.rfind(b"\n") + 1]
        # Opened before it has its name: opened after, it could be the copy of a process that came meanwhile.
        copy = path.with_name(f"{path.name}.{os.getpid()}")
        self._file = copy.open("wb", buffering=0)
        self._file.write(self._found)
        if durable:
            os.fsync(self._file.fileno())
        copy.replace(path)
        if durable:
            sync(path.parent)

    def read(self) -> Iterator[list[dict[str, Any]]]:
        """What had been appended when it was opened, oldest first; without what a kill left of the last.

        Raises
        ------
        BadData
            If a line amid others is damaged.
        """
        for number, line in enumerate(self._found.splitlines(), start=1):
            try:
                yield json.loads(line)
            except ValueError:
                raise BadData(
                    f"expected JSON in line {number} of {self._path}, was not: restore it"
                ) from None

    def append(self, entries: Sequence[dict[str, Any]]) -> None:
        """Write entries, all of them or none."""
        # One line: a kill between two of them would keep half of what belongs together.
        self._file.write(json.dumps(list(entries)).encode() + b"\n")
        if self._durable:
            os.fdatasync(self._file.fileno())

    def close(self) -> None:
        self._file.close()
