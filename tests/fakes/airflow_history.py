"""A stand-in for the part of Airflow's REST API that tells of runs and their tasks."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote

from tests.fakes.airflow_server import StandInAirflow

Query = dict[str, list[str]]


@dataclass
class AirflowHistory(StandInAirflow):
    """Runs that ended or are under way, by DAG; each request may be made to take long."""

    dags: tuple[str, ...] = ("data_pipeline", "deployment_pipeline")
    ended: list[dict[str, Any]] = field(default_factory=list)
    tasks_of: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    queues: list[str] = field(default_factory=list)
    delay_seconds: float = 0.0
    requests: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(
        self,
        dag_id: str,
        run_id: str,
        state: str,
        end: datetime | None,
        tasks: Sequence[dict[str, Any]] = (),
    ) -> None:
        """One run."""
        start = (end - timedelta(minutes=5)).isoformat() if end else None
        with self._lock:
            self.tasks_of[run_id] = [task_of(dag_id, run_id, **task) for task in tasks]
            self.ended.append(
                {
                    "dag_id": dag_id,
                    "dag_run_id": run_id,
                    "state": state,
                    "start_date": start,
                    "end_date": end.isoformat() if end else None,
                }
            )

    def asked(self, method: str, path: str, query: Query, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.requests.append(path)
        time.sleep(self.delay_seconds)
        if self.down:
            return 503, {"detail": "down for the test"}
        if path == "/auth/token":
            return 201, {"access_token": "a-token"}
        if path == "/api/v2/monitor/health":
            return 200, {"scheduler": {"status": "healthy"}}
        if path == "/api/v2/dags":
            return 200, {"dags": [{"dag_id": name} for name in self.dags]}
        words = path.split("/")
        if path.endswith("/taskInstances"):
            return 200, self._tasks(unquote(words[6]))
        if (method, words[-2:]) == ("POST", ["taskInstances", "list"]):
            (run_id,) = body["dag_run_ids"]
            return 200, self._tasks(run_id)
        if path.endswith("/dagRuns"):
            return 200, self._runs(words[4], query)
        return 404, {"detail": f"no such thing: {path}"}

    def _tasks(self, run_id: str) -> dict[str, Any]:
        if run_id == "~":
            rows = [task_of("any", "any", "waits", state="queued") | {"queue": q} for q in self.queues]
        else:
            rows = self.tasks_of[run_id]
        return {"task_instances": rows, "total_entries": len(rows)}

    def _runs(self, dag_id: str, query: Query) -> dict[str, Any]:
        with self._lock:
            rows = [run for run in self.ended if dag_id in ("~", run["dag_id"])]
        rows = [run for run in rows if run["state"] in query["state"]]
        if "end_date_gte" in query:
            rows = [run for run in rows if run["end_date"] and run["end_date"] >= query["end_date_gte"][0]]
        order = query["order_by"][0]
        if order.endswith("end_date"):
            rows.sort(key=lambda run: str(run["end_date"]), reverse=order.startswith("-"))
        return {"dag_runs": rows[: int(query["limit"][0])], "total_entries": len(rows)}


def task_of(
    dag_id: str,
    run_id: str,
    task_id: str,
    *,
    state: str = "success",
    seconds: float | None = 1.0,
    try_number: int = 1,
    map_index: int = -1,
    label: str | None = None,
) -> dict[str, Any]:
    """A task instance as the API tells of it."""
    return {
        "dag_id": dag_id,
        "dag_run_id": run_id,
        "task_id": task_id,
        "state": state,
        "duration": seconds,
        "try_number": try_number,
        "map_index": map_index,
        "rendered_map_index": label,
        "start_date": None,
        "queue": "default",
    }
