"""What happens when a task of a DAG has failed for good."""

from __future__ import annotations

from autotrader.log import mask_text
from autotrader.ports.clock import WallClock
from autotrader.ports.events import Event, EventLog, EventType
from autotrader.ports.jobs import JobType


def record_task_failure(
    *,
    dag_id: str,
    run_id: str,
    task_id: str,
    map_index: int,
    error: str,
    events: EventLog,
    wall_clock: WallClock,
) -> bool:
    """Put an alert into the business log; once for each task instance, however often it is called."""
    where = f"{dag_id}.{task_id}" + (f"[{map_index}]" if map_index >= 0 else "")
    return events.record(
        Event(
            key=f"task-failed/{dag_id}/{run_id}/{task_id}/{map_index}",
            type=EventType.ALERT,
            # Whoever asked for a job sees how it ended; jobs that fail one after the other have rules.
            severity="warning" if dag_id in set(JobType) else "critical",
            message=f"{where} failed: {mask_text(error)[:500]}",
            actor="airflow",
            at=wall_clock.now(),
            data={"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index},
        )
    )
