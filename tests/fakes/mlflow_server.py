"""A stand-in for the part of MLflow's server that autotrader uses, over its own REST grammar.

It starts at once and keeps everything in memory, so that hundreds of interrupted registrations can be
tried in seconds; the contract suites hold it to what a real server answers.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.fakes.http_server import Handler, listening

Body = dict[str, Any]

_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts/"


class Refusal(Exception):
    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status


@dataclass
class Run:
    id: str
    experiment_id: str
    name: str
    start_time: int
    tags: dict[str, str]
    status: str = "RUNNING"
    deleted: bool = False
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> Body:
        uri = f"mlflow-artifacts:/{self.experiment_id}/{self.id}/artifacts"
        info = {
            "run_id": self.id,
            "experiment_id": self.experiment_id,
            "run_name": self.name,
            "start_time": self.start_time,
            "status": self.status,
            "artifact_uri": uri,
        }
        data = {
            "tags": _pairs(self.tags),
            "params": _pairs(self.params),
            "metrics": [{"key": k, "value": v} for k, v in self.metrics.items()],
        }
        return {"info": info, "data": data}


class StandInMlflow:
    """What the server holds, for tests to look at and to spoil.

    Attributes
    ----------
    before : callable
        Called with method and path of each request; may raise `Refusal`.
    """

    def __init__(self) -> None:
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, Run] = {}
        self.models: dict[str, dict[str, str]] = {}  # name to aliases
        self.versions: dict[tuple[str, int], Body] = {}
        self.artifacts: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.before: Callable[[str, str], None] = lambda _method, _path: None
        self._ids = itertools.count(1)
        self._lock = threading.Lock()

    def answer(self, method: str, path: str, query: Body, body: bytes) -> bytes:
        with self._lock:
            self.requests.append(f"{method} {path}")
            self.before(method, path)
            if path == "/health":
                return b"OK"
            if path.startswith(_ARTIFACTS):
                return self._artifact(method, unquote(path.removeprefix(_ARTIFACTS)), body)
            name = path.removeprefix("/api/2.0/mlflow/").replace("/", "_").replace("-", "_")
            action = getattr(self, f"_{method.lower()}_{name}", None)
            if action is None:
                raise Refusal("ENDPOINT_NOT_FOUND", f"no {method} {path}", 404)
            return json.dumps(action(json.loads(body) if body else query)).encode()

    def make_run(self) -> str:
        """A run to register models from."""
        return str(self._post_runs_create({"experiment_id": "0", "run_name": "r"})["run"]["info"]["run_id"])

    def _artifact(self, method: str, path: str, body: bytes) -> bytes:
        if method == "PUT":
            self.artifacts[path] = body
            return b"{}"
        if path not in self.artifacts:
            raise Refusal("RESOURCE_DOES_NOT_EXIST", f"No such artifact: {path!r}", 404)
        return self.artifacts[path]

    def _get_experiments_get_by_name(self, query: Body) -> Body:
        name = query["experiment_name"]
        if name not in self.experiments:
            raise Refusal("RESOURCE_DOES_NOT_EXIST", f"Could not find experiment with name {name!r}", 404)
        found = {"experiment_id": self.experiments[name], "name": name, "lifecycle_stage": "active"}
        return {"experiment": found}

    def _post_experiments_create(self, body: Body) -> Body:
        if body["name"] in self.experiments:
            raise Refusal("RESOURCE_ALREADY_EXISTS", "Experiment exists")
        self.experiments[body["name"]] = str(next(self._ids))
        return {"experiment_id": self.experiments[body["name"]]}

    def _post_runs_create(self, body: Body) -> Body:
        run = Run(
            id=f"run{next(self._ids)}",
            experiment_id=body["experiment_id"],
            name=body["run_name"],
            start_time=body.get("start_time", 0),
            tags=_mapping(body.get("tags", [])),
        )
        self.runs[run.id] = run
        return {"run": run.as_json()}

    def _get_runs_get(self, query: Body) -> Body:
        return {"run": self._run(query["run_id"]).as_json()}

    def _post_runs_search(self, body: Body) -> Body:
        match = re.fullmatch(r"tags\.`(.+)` = '(.*)'", body["filter"])
        assert match is not None
        tag, value = match.groups()
        found = [
            run.as_json()
            for run in self.runs.values()
            if not run.deleted and run.experiment_id in body["experiment_ids"] and run.tags.get(tag) == value
        ]
        return {"runs": found} if found else {}

    def _post_runs_update(self, body: Body) -> Body:
        self._run(body["run_id"]).status = body["status"]
        return {}

    def _post_runs_delete(self, body: Body) -> Body:
        self._run(body["run_id"]).deleted = True
        return {}

    def _post_runs_set_tag(self, body: Body) -> Body:
        self._run(body["run_id"]).tags[body["key"]] = body["value"]
        return {}

    def _post_runs_log_batch(self, body: Body) -> Body:
        run = self._run(body["run_id"])
        for key, value in _mapping(body.get("params", [])).items():
            if run.params.setdefault(key, value) != value:
                raise Refusal("INVALID_PARAMETER_VALUE", "Changing param values is not allowed")
        if len(body.get("params", [])) > 100 or len(body.get("metrics", [])) > 1000:
            raise Refusal("INVALID_PARAMETER_VALUE", "A batch logging request can contain at most 100 params")
        run.metrics |= {m["key"]: float(m["value"]) for m in body.get("metrics", [])}
        return {}

    def _post_registered_models_create(self, body: Body) -> Body:
        if body["name"] in self.models:
            raise Refusal("RESOURCE_ALREADY_EXISTS", "Registered Model already exists.")
        self.models[body["name"]] = {}
        return {"registered_model": {"name": body["name"]}}

    def _get_registered_models_get(self, query: Body) -> Body:
        aliases = [{"alias": a, "version": v} for a, v in self._model(query["name"]).items()]
        return {"registered_model": {"name": query["name"], **({"aliases": aliases} if aliases else {})}}

    def _post_registered_models_alias(self, body: Body) -> Body:
        self._version(body)
        self._model(body["name"])[body["alias"]] = body["version"]
        return {}

    def _delete_registered_models_alias(self, body: Body) -> Body:
        self._model(body["name"]).pop(body["alias"], None)
        return {}

    def _post_model_versions_create(self, body: Body) -> Body:
        self._model(body["name"])
        number = max((n for name, n in self.versions if name == body["name"]), default=0) + 1
        self.versions[body["name"], number] = {
            "name": body["name"],
            "version": str(number),
            "source": body["source"],
            "run_id": body["run_id"],
            "creation_timestamp": 1_700_000_000_000,
            "tags": _mapping(body.get("tags", [])),
        }
        return {"model_version": self._version_as_json(body["name"], number)}

    def _post_model_versions_set_tag(self, body: Body) -> Body:
        self._version(body)["tags"][body["key"]] = body["value"]
        return {}

    def _delete_model_versions_delete(self, body: Body) -> Body:
        self._version(body)
        del self.versions[body["name"], int(body["version"])]
        return {}

    def _get_model_versions_search(self, query: Body) -> Body:
        name = query["filter"].removeprefix("name='").removesuffix("'")
        numbers = sorted((n for model, n in self.versions if model == name), reverse=True)
        start = int(query.get("page_token", 0))
        page = numbers[start : start + 2]  # small pages, so that paging is always used
        found = {"model_versions": [self._version_as_json(name, n) for n in page]} if page else {}
        return found | ({"next_page_token": str(start + 2)} if start + 2 < len(numbers) else {})

    def _version_as_json(self, name: str, number: int) -> Body:
        version = self.versions[name, number]
        return version | {"tags": _pairs(version["tags"])}

    def _run(self, run_id: str) -> Run:
        if run_id not in self.runs:
            raise Refusal("RESOURCE_DOES_NOT_EXIST", f"Run with id={run_id} not found", 404)
        return self.runs[run_id]

    def _model(self, name: str) -> dict[str, str]:
        if name not in self.models:
            raise Refusal("RESOURCE_DOES_NOT_EXIST", f"Registered Model with name={name} not found", 404)
        return self.models[name]

    def _version(self, body: Body) -> Body:
        found = self.versions.get((body["name"], int(body["version"])))
        if found is None:
            raise Refusal("RESOURCE_DOES_NOT_EXIST", f"Model Version {body['version']} not found", 404)
        return found


@contextlib.contextmanager
def serve(mlflow: StandInMlflow) -> Iterator[str]:
    """The stand-in on a free loopback port; yields its URI."""

    class Stand(Handler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            parts = urlsplit(self.path)
            query = {k: v[0] for k, v in parse_qs(parts.query).items()}
            body = self.sent()
            status = 200
            try:
                content = mlflow.answer(self.command, parts.path, query, body)
            except Refusal as refusal:
                status = refusal.status
                content = json.dumps({"error_code": refusal.code, "message": str(refusal)}).encode()
            self.answer(status, content, kind="application/json")

    with listening(Stand) as url:
        yield url


def _pairs(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": k, "value": v} for k, v in values.items()]


def _mapping(pairs: list[dict[str, str]]) -> dict[str, str]:
    return {p["key"]: p["value"] for p in pairs}
