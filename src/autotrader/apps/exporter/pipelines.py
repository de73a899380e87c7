"""Runs and tasks of Airflow, through its REST API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime

from autotrader.adapters.airflow_api import AirflowApi, DagRun, TaskInstance
from autotrader.apps.exporter.reading import Reading, Rising
from autotrader.domain.instruments import Venue

DEPLOYMENT = "deployment_pipeline"
INGESTION = ("data_pipeline", "extract_market_data")
UNFINISHED = ("queued", "running")
ENDED = ("success", "failed")


@dataclass(slots=True)
class _Pipeline:
    """What is known of one DAG."""

    totals: dict[str, Rising] = field(default_factory=lambda: {state: Rising() for state in ENDED})
    last_success: datetime | None = None
    last_failure: datetime | None = None
    in_a_row: int = 0
    tasks: Sequence[TaskInstance] = ()
    failures: Counter[str] = field(default_factory=Counter)


class Pipelines:
    """Asks little while nothing has ended: two lists; else about each DAG of which a run has.

    Tries that failed are counted from the exporter's start on, when their run has ended.

    Parameters
    ----------
    connect : Callable
        A client, for one look.
    """

    def __init__(self, connect: Callable[[], AbstractContextManager[AirflowApi]]) -> None:
        self._connect = connect
        self._known: dict[str, _Pipeline] = {}
        self._newest_end: datetime | None = None
        self._counted: set[tuple[str, str]] = set()  # of the newest instant
        self._venue_errors: Counter[str] = Counter()

    @property
    def last_failed_deployment(self) -> datetime | None:
        """When a run of the deployment pipeline failed last; None where none did, or it is not known."""
        pipeline = self._known.get(DEPLOYMENT)
        return pipeline.last_failure if pipeline else None

    def read(self, reading: Reading) -> None:
        """Add what Airflow says now.

        Raises
        ------
        Unreachable, Rejected
            If it does not answer, or not to us.
        """
        with self._connect() as airflow:
            self._catch_up(airflow)
            unfinished = airflow.runs(states=UNFINISHED, limit=100).runs
            waiting = airflow.waiting_tasks()
        under_way = Counter((run.dag_id, run.state) for run in unfinished)
        for dag_id, pipeline in self._known.items():
            for state in UNFINISHED:
                reading.add("pipeline_runs_active", under_way[dag_id, state], dag_id=dag_id, state=state)
            self._tell(reading, dag_id, pipeline)
        for queue, count in waiting.items():
            reading.add("queue_length", count, queue=queue)
        for venue in Venue:
            reading.add("connector_errors_total", self._venue_errors[venue.value], venue=venue.value)

    def _tell(self, reading: Reading, dag_id: str, pipeline: _Pipeline) -> None:
        last = pipeline.last_success
        reading.add(
            "pipeline_last_success_timestamp_seconds", last.timestamp() if last else None, dag_id=dag_id
        )
        reading.add("pipeline_consecutive_failures", pipeline.in_a_row, dag_id=dag_id)
        for state, rising in pipeline.totals.items():
            reading.add("pipeline_runs_total", rising.total, dag_id=dag_id, state=state)
        longest: dict[str, float] = {}
        for task in pipeline.tasks:  # of mapped ones the longest: it is what the run waited for
            if task.duration_seconds is not None:
                longest[task.task_id] = max(task.duration_seconds, longest.get(task.task_id, 0.0))
        for task_id, seconds in longest.items():
            reading.add("pipeline_task_duration_seconds", seconds, dag_id=dag_id, task_id=task_id)
        for task_id, count in pipeline.failures.items():
            reading.add("pipeline_task_failures_total", count, dag_id=dag_id, task_id=task_id)

    def _catch_up(self, airflow: AirflowApi) -> None:
        is_first = not self._known
        there = airflow.dag_ids()
        seen = self._ended(airflow, newest_only=is_first)
        ended = [run for run in seen if (run.dag_id, run.run_id) not in self._counted]
        changed = {run.dag_id for run in ended} | (there - set(self._known))
        self._known = {dag_id: known for dag_id, known in self._known.items() if dag_id in there}
        for dag_id in changed & there:
            self._known[dag_id] = self._look_at(airflow, dag_id, self._known.get(dag_id, _Pipeline()))
        for run in () if is_first else ended:
            if run.dag_id in self._known:
                self._count(run, airflow.tasks(run.dag_id, run.run_id))
        if seen:
            self._newest_end = max(run.end for run in seen if run.end)
            self._counted = {(run.dag_id, run.run_id) for run in seen if run.end == self._newest_end}

    def _ended(self, airflow: AirflowApi, *, newest_only: bool) -> Sequence[DagRun]:
        """Those that ended since the last look, and again those of its newest instant."""
        if newest_only:
            return airflow.runs(states=ENDED, order_by="-end_date", limit=1).runs
        return airflow.runs(states=ENDED, ended_from=self._newest_end, order_by="end_date", limit=100).runs

    def _look_at(self, airflow: AirflowApi, dag_id: str, known: _Pipeline) -> _Pipeline:
        succeeded = airflow.runs(dag_id, states=("success",), order_by="-end_date", limit=1)
        failed = airflow.runs(dag_id, states=("failed",), order_by="-end_date", limit=1)
        last_success = next((run.end for run in succeeded.runs), None)
        last_failure = next((run.end for run in failed.runs), None)
        if last_success is None or last_failure is None:
            in_a_row = failed.total
        else:
            in_a_row = airflow.runs(dag_id, states=("failed",), ended_from=last_success, limit=1).total
        newest = max((*succeeded.runs, *failed.runs), key=lambda run: run.end or _LONG_AGO, default=None)
        known.totals["success"].see(succeeded.total)
        known.totals["failed"].see(failed.total)
        known.last_success, known.last_failure, known.in_a_row = last_success, last_failure, in_a_row
        known.tasks = airflow.tasks(dag_id, newest.run_id) if newest else ()
        for task in known.tasks:  # from nothing on: Prometheus sees no rise in what appears
            known.failures.setdefault(task.task_id, 0)
        return known

    def _count(self, run: DagRun, tasks: Sequence[TaskInstance]) -> None:
        for task in tasks:
            failed = max(task.try_number - 1, 0) + (task.state == "failed")
            self._known[run.dag_id].failures[task.task_id] += failed
            if (run.dag_id, task.task_id) == INGESTION and failed:
                venue = (task.label or "").partition(":")[0]
                if venue in set(Venue):
                    self._venue_errors[venue] += failed


_LONG_AGO = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
