"""What became of the runs of pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run that is over; `ended_at` is wall time."""

    dag_id: str
    run_id: str
    succeeded: bool
    ended_at: datetime


@runtime_checkable
class PipelineRuns(Protocol):
    def ended(self, start: datetime, end: datetime) -> Sequence[EndedRun]:
        """Those that ended in [start, end), oldest first.

        Raises
        ------
        Unreachable, Rejected
            If Airflow does not answer, or not to us.
        """
        ...
