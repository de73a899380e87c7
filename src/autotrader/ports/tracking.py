"""Experiment tracking: runs, their parameters, metrics and files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable


@runtime_checkable
class ExperimentTracker(Protocol):
    """Runs are found again by key, so that a step that is repeated continues its run."""

    def start_run(
        self, *, key: str, name: str, parent_run_id: str | None = None, tags: Mapping[str, str] = {}
    ) -> str:
        """Create the run of this key, or find it; returns its id.

        Raises
        ------
        Unreachable
            If the tracking server does not answer.
        """
        ...

    def log(
        self,
        run_id: str,
        *,
        params: Mapping[str, object] = {},
        metrics: Mapping[str, float] = {},
    ) -> None:
        """Add parameters and metrics; a parameter that is already there with that value is left."""
        ...

    def log_table(self, run_id: str, file_name: str, rows: Mapping[str, list[object]]) -> None:
        """Keep a table that the tracking UI can show."""
        ...

    def read_table(self, run_id: str, file_name: str) -> Mapping[str, list[object]]:
        """A table that was kept, by column.

        Raises
        ------
        NotFound
            If the run keeps none of that name.
        Unreachable
            If the tracking server does not answer.
        """
        ...

    def log_file(self, run_id: str, path: Path, folder: str = "") -> None:
        """Keep a file under the run's artefacts."""
        ...

    def finish(self, run_id: str, *, status: str = "FINISHED") -> None:
        """End the run: FINISHED, FAILED or KILLED."""
        ...

    def run_url(self, run_id: str) -> str:
        """Where a person looks at it."""
        ...
