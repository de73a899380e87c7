"""Airflow's REST API: trigger a DAG, follow its run, read what its tasks returned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import httpx

from autotrader.domain.errors import NotFound, Rejected, Unreachable

FINAL_RUN_STATES = frozenset({"success", "failed"})
FINAL_TASK_STATES = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


@dataclass(frozen=True, slots=True)
class DagRun:
    dag_id: str
    run_id: str
    state: str
    start: datetime | None
    end: datetime | None


@dataclass(frozen=True, slots=True)
class TaskInstance:
    """One task of a run; `map_index` is -1 unless mapped, and `label` is its rendered index."""

    task_id: str
    map_index: int
    label: str | None
    state: str | None
    start: datetime | None
    duration_seconds: float | None
    try_number: int


class AirflowApi:
    """A client that logs in again when its token has expired.

    Parameters
    ----------
    url : str
        Base URL of the API server.
    user, password : str
    """

    def __init__(self, url: str, *, user: str, password: str, timeout_seconds: float = 30.0) -> None:
        self._credentials = {"username": user, "password": password}
        on_loopback = httpx.URL(url).host in {"127.0.0.1", "::1", "localhost"}
        self._http = httpx.Client(base_url=url, timeout=timeout_seconds, trust_env=not on_loopback)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def health(self) -> dict[str, str]:
        """Status of each component (`healthy`, `unhealthy`, or `unknown`)."""
        body = self._send("GET", "/api/v2/monitor/health", authenticated=False)
        return {name: str(part.get("status") or "unknown") for name, part in body.items()}

    def dag_ids(self) -> set[str]:
        """DAGs that the dag-processor has parsed."""
        return {dag["dag_id"] for dag in self._send("GET", "/api/v2/dags?limit=100")["dags"]}

    def import_errors(self) -> dict[str, str]:
        """File to the last line of the trace back, of DAG files that do not parse."""
        errors = self._send("GET", "/api/v2/importErrors")["import_errors"]
        return {e["filename"]: e["stack_trace"].strip().splitlines()[-1] for e in errors}

    def unpause(self, dag_id: str) -> None:
        self._send("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, conf: Mapping[str, object], *, run_id: str | None = None) -> str:
        """Start a run by hand; returns its run id.

        Raises
        ------
        Rejected
            If Airflow refuses the conf; the message is Airflow's own.
        """
        body: dict[str, object] = {"logical_date": None, "conf": dict(conf)}
        if run_id:
            body["dag_run_id"] = run_id
        return str(self._send("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> DagRun:
        body = self._send("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")
        return DagRun(dag_id, run_id, body["state"], _instant(body["start_date"]), _instant(body["end_date"]))

    def unfinished_runs(self, dag_id: str) -> list[str]:
        body = self._send("GET", f"/api/v2/dags/{dag_id}/dagRuns?state=queued&state=running&limit=100")
        return [run["dag_run_id"] for run in body["dag_runs"]]

    def tasks(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """All task instances, mapped ones included, in no particular order."""
        found: list[TaskInstance] = []
        while True:
            path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100&offset={len(found)}"
            body = self._send("GET", path)
            found += [
                TaskInstance(
                    task_id=t["task_id"],
                    map_index=t["map_index"],
                    label=t.get("rendered_map_index"),
                    state=t["state"],
                    start=_instant(t["start_date"]),
                    duration_seconds=t["duration"],
                    try_number=t["try_number"],
                )
                for t in body["task_instances"]
            ]
            if len(found) >= body["total_entries"] or not body["task_instances"]:
                return found

    def returned(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Any:
        """What the task returned.

        Raises
        ------
        NotFound
            If it returned nothing, or did not run.
        """
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self._send("GET", f"{path}?map_index={map_index}&deserialize=true")["value"]

    def failure(self, task: TaskInstance, dag_id: str, run_id: str) -> str:
        """The exception that ended the task's last try, or the last line of its log."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task.task_id}/logs/{task.try_number}"
        body = self._send("GET", f"{path}?map_index={task.map_index}&full_content=true")
        raised = [error for entry in body["content"] for error in entry.get("error_detail") or []]
        if raised:
            return f"{raised[0]['exc_type']}: {raised[0]['exc_value']}"
        return str(body["content"][-1]["event"]) if body["content"] else "no log"

    def _send(self, method: str, path: str, *, authenticated: bool = True, **request: Any) -> Any:
        if authenticated and "Authorization" not in self._http.headers:
            self._log_in()
        answer = self._request(method, path, **request)
        if answer.status_code == httpx.codes.UNAUTHORIZED and authenticated:
            self._log_in()
            answer = self._request(method, path, **request)
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise NotFound(f"Airflow has no {path.partition('?')[0]}")
        if answer.is_server_error:
            raise Unreachable(f"expected an answer of Airflow at {answer.url}, was HTTP {answer.status_code}")
        if answer.is_client_error:
            raise Rejected(f"Airflow refused {method} {path}: HTTP {answer.status_code}, {_detail(answer)}")
        return answer.json()

    def _log_in(self) -> None:
        self._http.headers.pop("Authorization", None)
        answer = self._request("POST", "/auth/token", json=self._credentials)
        if answer.is_error:
            user = self._credentials["username"]
            raise Rejected(f"Airflow refused the login of {user!r}: {_detail(answer)}")
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def _request(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **request)
        except httpx.TransportError as error:
            raise Unreachable(f"Airflow at {self._http.base_url} did not answer: {error}") from error


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("detail", answer.text))
    except ValueError:
        return answer.text[:200]


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
