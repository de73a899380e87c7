"""Follow a DAG run: which task runs, for how long, what is left."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table

from autotrader.adapters.airflow_api import (
    FINAL_RUN_STATES,
    FINAL_TASK_STATES,
    AirflowApi,
    DagRun,
    TaskInstance,
)

POLL_SECONDS = 1.0
_MARKS = {
    "success": "[green]done[/]",
    "failed": "[red]failed[/]",
    "upstream_failed": "[red]not run[/]",
    "skipped": "[yellow]skipped[/]",
    "running": "[cyan]running[/]",
    "up_for_retry": "[yellow]will retry[/]",
}


def follow(api: AirflowApi, dag_id: str, run_id: str, console: Console) -> tuple[DagRun, list[TaskInstance]]:
    """Show the run until it has ended.

    At a terminal a table redraws itself; elsewhere a line is printed for each task that ends.
    """
    begun = time.monotonic()
    reported: set[tuple[str, int]] = set()
    live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
    with live or contextlib.nullcontext():
        while True:
            run, tasks = api.run(dag_id, run_id), api.tasks(dag_id, run_id)
            ended = run.state in FINAL_RUN_STATES
            elapsed = time.monotonic() - begun
            if live:
                live.update(_drawing(dag_id, tasks, elapsed))
            else:
                _print_ended(console, tasks, reported, elapsed)
            if ended:
                return run, tasks
            time.sleep(POLL_SECONDS)


def _drawing(dag_id: str, tasks: Sequence[TaskInstance], elapsed: float) -> Table:
    done = sum(task.state in FINAL_TASK_STATES for task in tasks)
    drawing = Table(title=f"{dag_id}  {elapsed:.0f} s  {done}/{len(tasks)} tasks", title_justify="left")
    drawing.add_column("task", min_width=24)
    drawing.add_column("state", min_width=12)
    drawing.add_column("seconds", justify="right", min_width=8)
    for name in dict.fromkeys(task.task_id for task in sorted(tasks, key=_order)):
        group = [task for task in tasks if task.task_id == name]
        drawing.add_row(name, _state(group), _seconds(group))
    return drawing


def _print_ended(
    console: Console, tasks: Sequence[TaskInstance], reported: set[tuple[str, int]], elapsed: float
) -> None:
    done = sum(task.state in FINAL_TASK_STATES for task in tasks)
    for task in sorted(tasks, key=_order):
        key = (task.task_id, task.map_index)
        if task.state in FINAL_TASK_STATES and key not in reported:
            reported.add(key)
            label = f"[{task.label or task.map_index}]" if task.map_index >= 0 else ""
            took = f"{task.duration_seconds or 0:.1f} s"
            console.print(
                f"{elapsed:6.1f} s  {task.task_id}{label}: {task.state} ({took}); {len(tasks) - done} left",
                markup=False,
                highlight=False,
            )


def _order(task: TaskInstance) -> tuple[float, str, int]:
    return (task.start.timestamp() if task.start else float("inf"), task.task_id, task.map_index)


def _state(group: Sequence[TaskInstance]) -> str:
    if len(group) == 1:
        return _MARKS.get(group[0].state or "", group[0].state or "waiting")
    done = sum(task.state in FINAL_TASK_STATES for task in group)
    bad = sum(task.state in ("failed", "upstream_failed") for task in group)
    return f"{done}/{len(group)}" + (f" [red]{bad} failed[/]" if bad else "")


def _seconds(group: Sequence[TaskInstance]) -> str:
    known = [task.duration_seconds for task in group if task.duration_seconds]
    return f"{sum(known):.1f}" if known else ""
