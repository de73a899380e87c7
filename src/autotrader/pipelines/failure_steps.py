"""What happens when a task of a DAG has failed for good."""

from __future__ import annotations

from autotrader.alerts.task_ends import task_fingerprint
from autotrader.log import mask_text
from autotrader.ports.clock import WallClock
from autotrader.ports.events import Event, EventLog, EventType

DEPLOYMENT = "deployment_pipeline"


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
    """Put an alert into the business log; once for each task instance, however often it is called.

    All failures of a task are one alert, until a later run of its DAG succeeds. Only a deployment is urgent:
    everything else is asked for by day, and three failed runs of the data pipeline have a rule of their own.
    """
    where = f"{dag_id}.{task_id}" + (f"[{map_index}]" if map_index >= 0 else "")
    return events.record(
        Event(
            key=f"task-failed/{dag_id}/{run_id}/{task_id}/{map_index}",
            type=EventType.ALERT,
            severity="critical" if dag_id == DEPLOYMENT else "warning",
            message=f"{where} failed: {mask_text(error)[:500]}",
            actor="airflow",
            at=wall_clock.now(),
            data={
                "dag_id": dag_id,
                "run_id": run_id,
                "task_id": task_id,
                "map_index": map_index,
                "fingerprint": task_fingerprint(dag_id, task_id),
            },
        )
    )
