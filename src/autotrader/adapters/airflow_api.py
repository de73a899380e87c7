"""Airflow's REST API: trigger a DAG, follow its run, read what its tasks returned."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from autotrader.domain.errors import NotFound, Rejected, Unreachable


class Conflict(Rejected):
    """What was to be made is there already."""


class Invalid(Rejected):
    """It would refuse the same request again, whoever sent it."""


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
class Runs:
    """Some runs, and how many there are in all that were asked for."""

    runs: tuple[DagRun, ...]
    total: int


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


# Airflow on SQLite answers 500 where its note of who asked meets the write of a task in the same process:
# each waits for the other. Whatever is asked for here may be asked for again.
TRIES = 3
PAUSE_SECONDS = 0.5


class AirflowApi:
    """A client that logs in again when its token has expired.

    Parameters
    ----------
    url : str
        Base URL of the API server.
    user, password : str
    timeout_seconds : float
        Patience with one answer.
    transport : httpx.BaseTransport or None
        One that says by itself who asks: over it nobody logs in.
    """

    def __init__(
        self,
        url: str,
        *,
        user: str = "",
        password: str = "",
        timeout_seconds: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._credentials = None if transport else {"username": user, "password": password}
        on_loopback = httpx.URL(url).host in {"127.0.0.1", "::1", "localhost"}
        self._http = httpx.Client(
            base_url=url, timeout=timeout_seconds, trust_env=not on_loopback, transport=transport
        )

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

    def paused(self) -> dict[str, bool]:
        """Whether each DAG that the dag-processor has parsed is paused."""
        return {
            dag["dag_id"]: dag["is_paused"] for dag in self._send("GET", "/api/v2/dags?limit=100")["dags"]
        }

    def import_errors(self) -> dict[str, str]:
        """File to the last line of the trace back, of DAG files that do not parse."""
        errors = self._send("GET", "/api/v2/importErrors")["import_errors"]
        return {e["filename"]: e["stack_trace"].strip().splitlines()[-1] for e in errors}

    def unpause(self, dag_id: str) -> None:
        self._send("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def trigger(
        self,
        dag_id: str,
        conf: Mapping[str, object],
        *,
        run_id: str | None = None,
        run_after: datetime | None = None,
    ) -> str:
        """Start a run by hand; returns its run id.

        Parameters
        ----------
        run_after : datetime or None
            Airflow holds the run back until then.

        Raises
        ------
        Invalid
            If Airflow refuses the conf; the message is Airflow's own.
        Conflict
            If there is a run of this id.
        """
        # Of this moment, as Airflow itself names runs: asked for again, it is the same run.
        own_id = run_id or f"manual__{datetime.now(UTC).isoformat()}"
        body: dict[str, object] = {"logical_date": None, "conf": dict(conf), "dag_run_id": own_id}
        if run_after:
            body["run_after"] = run_after.isoformat()
        try:
            self._send("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body)
        except Conflict:
            if run_id:
                raise
        return own_id

    def run(self, dag_id: str, run_id: str) -> DagRun:
        body = self._send("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")
        return DagRun(dag_id, run_id, body["state"], _instant(body["start_date"]), _instant(body["end_date"]))

    def end_run(self, dag_id: str, run_id: str) -> None:
        """Mark the run failed: Airflow kills its tasks that run, and starts no other one."""
        self._send("PATCH", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}", json={"state": "failed"})

    def unfinished_runs(self, dag_id: str) -> list[str]:
        body = self._send("GET", f"/api/v2/dags/{dag_id}/dagRuns?state=queued&state=running&limit=100")
        return [run["dag_run_id"] for run in body["dag_runs"]]

    def runs(
        self,
        dag_id: str = "~",
        *,
        states: Sequence[str],
        ended_from: datetime | None = None,
        order_by: str = "id",
        limit: int = 100,
    ) -> Runs:
        """Runs in one of these states, of all DAGs unless one is named.

        Parameters
        ----------
        ended_from : datetime or None
            Only those that ended then or later.
        order_by : str
            Such as `-end_date`: the newest end first.
        """
        query: dict[str, Any] = {"state": list(states), "order_by": order_by, "limit": limit}
        if ended_from is not None:
            query["end_date_gte"] = ended_from.isoformat()
        body = self._send("GET", f"/api/v2/dags/{dag_id}/dagRuns", params=query)
        runs = (
            DagRun(
                run["dag_id"],
                run["dag_run_id"],
                run["state"],
                _instant(run["start_date"]),
                _instant(run["end_date"]),
            )
            for run in body["dag_runs"]
        )
        return Runs(tuple(runs), body["total_entries"])

    def waiting_tasks(self) -> dict[str, int]:
        """How many task instances wait for a worker, by queue; at most the first hundred are told apart.

        Some are queued where the worker takes them from; the others wait for room there (`scheduled`),
        of which there is little: `core.parallelism`.
        """
        path = "/api/v2/dags/~/dagRuns/~/taskInstances"
        body = self._send("GET", path, params={"state": ["queued", "scheduled"], "limit": 100})
        found = Counter(str(task["queue"] or "default") for task in body["task_instances"])
        found["default"] += body["total_entries"] - len(body["task_instances"])
        return dict(found)

    def tasks(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """All task instances, mapped ones included, in no particular order."""
        found: list[TaskInstance] = []
        while True:
            path = f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}/taskInstances"
            body = self._send("GET", path, params={"limit": 100, "offset": len(found)})
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
        credentials = self._credentials if authenticated else None
        if credentials and "Authorization" not in self._http.headers:
            self._log_in(credentials)
        answer = self._request(method, path, **request)
        if answer.status_code == httpx.codes.UNAUTHORIZED and credentials:
            self._log_in(credentials)
            answer = self._request(method, path, **request)
        for _ in range(TRIES - 1):
            if answer.status_code != httpx.codes.INTERNAL_SERVER_ERROR:
                break
            time.sleep(PAUSE_SECONDS)
            answer = self._request(method, path, **request)
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise NotFound(f"Airflow has no {path.partition('?')[0]}")
        if answer.is_server_error:
            raise Unreachable(f"expected an answer of Airflow at {answer.url}, was HTTP {answer.status_code}")
        if answer.is_client_error:
            kind = _REFUSALS.get(answer.status_code, Rejected)
            raise kind(f"Airflow refused {method} {path}: HTTP {answer.status_code}, {_detail(answer)}")
        return answer.json()

    def _log_in(self, credentials: Mapping[str, str]) -> None:
        self._http.headers.pop("Authorization", None)
        answer = self._request("POST", "/auth/token", json=credentials)
        if answer.is_server_error:
            raise Unreachable(f"expected Airflow to let us in, was HTTP {answer.status_code}")
        if answer.is_error:
            user = credentials["username"]
            raise Rejected(f"Airflow refused the login of {user!r}: {_detail(answer)}")
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def _request(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **request)
        except httpx.TransportError as error:
            raise Unreachable(f"Airflow at {self._http.base_url} did not answer: {error}") from error


_REFUSALS: Mapping[int, type[Rejected]] = {
    httpx.codes.BAD_REQUEST: Invalid,
    httpx.codes.CONFLICT: Conflict,
    httpx.codes.UNPROCESSABLE_ENTITY: Invalid,
}


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("detail", answer.text))
    except ValueError:
        return answer.text[:200]


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
