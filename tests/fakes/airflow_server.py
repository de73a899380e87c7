"""A stand-in for the part of Airflow's REST API that operators' commands use."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.http_server import Handler, listening


@dataclass
class StandInAirflow:
    """Runs of DAGs, by run id; a trigger whose answer is `lost` was carried out.

    `after` has until when runs are held back; `refuses` is what it has against every trigger; `stumbles` is
    how many requests it still answers 500, of which nothing came.
    """

    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    lost: int = 0
    stumbles: int = 0
    down: bool = False
    knows_dag: bool = True
    refuses: str = ""

    def asked(
        self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        """As `answer`, for stand-ins that look at the query."""
        return self.answer(method, path, body)

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.down:
            return 503, {"detail": "down for the test"}
        if path == "/auth/token":
            return 201, {"access_token": "a-token"}
        if self.stumbles:
            self.stumbles -= 1
            return 500, {"detail": "database is locked"}
        name = path.rpartition("/")[2]
        if method == "POST":
            if not self.knows_dag:
                return 404, {"detail": "no such DAG"}
            if self.refuses:
                return 400, {"detail": self.refuses}
            if body["dag_run_id"] in self.runs:
                return 409, {"detail": "there is such a run"}
            self.runs[body["dag_run_id"]] = {"conf": body["conf"], "state": "queued"}
            if "run_after" in body:
                self.after[body["dag_run_id"]] = body["run_after"]
            if self.lost:
                self.lost -= 1
                return 502, {"detail": "lost"}
            return 200, self._body(body["dag_run_id"])
        if method == "PATCH" and name in self.runs:
            self.runs[name]["state"] = body["state"]
            return 200, self._body(name)
        if name == "dagRuns":
            unfinished = [n for n, run in self.runs.items() if run["state"] in ("queued", "running")]
            return 200, {"dag_runs": [self._body(n) for n in unfinished]}
        return (200, self._body(name)) if name in self.runs else (404, {"detail": "no such run"})

    def _body(self, run_id: str) -> dict[str, Any]:
        state = self.runs[run_id]["state"]
        return {"dag_run_id": run_id, "state": state, "start_date": None, "end_date": None}


@contextlib.contextmanager
def serve(airflow: StandInAirflow) -> Iterator[str]:
    """The stand-in on a free loopback port; yields its URL."""

    class Stand(Handler):
        def respond(self) -> None:
            sent = self.sent()
            asked = urlsplit(self.path)
            status, content = airflow.asked(
                self.command, asked.path, parse_qs(asked.query), json.loads(sent) if sent else {}
            )
            self.answer_json(status, content)

    with listening(Stand) as url:
        yield url
