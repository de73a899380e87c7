"""Where a search of parameters remembers its trials, and how several workers share one search."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Studies(Protocol):
    """Optuna's memory. What is held ends with the process that holds it, however that ends."""

    def open(self, folder: Path) -> AbstractContextManager[Any]:
        """The `optuna.storages.BaseStorage` of the search with that folder on this machine.

        Raises
        ------
        Unreachable
            If the database does not answer; what was told stays told.
        """
        ...

    def claim(self, name: str) -> AbstractContextManager[bool]:
        """Work on something alone; False where another worker is at it."""
        ...
