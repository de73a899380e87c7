"""Progress bars on stderr, for people who wait."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from autotrader.ingestion import extract
from autotrader.ingestion.windows import Assignment


@contextlib.contextmanager
def showing_progress(assignments: Sequence[Assignment]) -> Iterator[extract.Progress]:
    """One bar an instrument, as long as its window; silent where stderr is no terminal."""
    with _bars() as bars:
        tasks = {
            a: bars.add_task(str(a.id), total=max((a.end - a.start).total_seconds(), 1)) for a in assignments
        }

        def advance(assignment: Assignment, until: datetime) -> None:
            bars.update(tasks[assignment], completed=(until - assignment.start).total_seconds())

        yield advance


@contextlib.contextmanager
def counting_progress(what: str, total: int) -> Iterator[Progress]:
    """One bar that counts; `advance(task_id)` with the id 0."""
    with _bars() as bars:
        bars.add_task(what, total=total)
        yield bars


def _bars() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
