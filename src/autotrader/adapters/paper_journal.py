"""The paper venue's memory: one line of JSON a change, on disk before anybody hears of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from autotrader.domain.errors import BadData


class PaperJournal:
    """Append-only file; a line that a kill cut short was never written.

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
        self._file = path.open("ab", buffering=0)

    def read(self) -> Iterator[list[dict[str, Any]]]:
        """What was appended, oldest first; what a kill left of the last one is removed.

        Raises
        ------
        BadData
            If a line amid others is damaged.
        """
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            self._file.truncate(whole)
        for number, line in enumerate(content[:whole].splitlines(), start=1):
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
