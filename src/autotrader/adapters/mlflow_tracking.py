"""Experiment tracking in MLflow."""

from __future__ import annotations

import contextlib
import getpass
import json
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from autotrader.adapters.mlflow_rest import AlreadyExists, Collided, MlflowRest
from autotrader.domain.errors import NotFound

KEY_TAG = "autotrader.key"
# What one request of runs/log-batch may carry.
_METRICS_PER_BATCH = 1000
_PARAMS_PER_BATCH = 100

# Without it the UI takes the experiment for one of language models and hides the metrics.
_KIND = {"key": "mlflow.experimentKind", "value": "custom_model_development"}


class MlflowTracker:
    """Implements `autotrader.ports.tracking.ExperimentTracker`.

    Parameters
    ----------
    uri : str
        `http://host:port` of the MLflow server.
    experiment : str
        Its name; made on first use.
    transport : httpx.BaseTransport or None
        How requests travel; None is the network.
    """

    def __init__(self, uri: str, *, experiment: str, transport: httpx.BaseTransport | None = None) -> None:
        self._mlflow = MlflowRest(uri, transport)
        self._experiment = experiment
        self._experiment_id: str | None = None
        self._artifact_uris: dict[str, str] = {}

    def start_run(
        self, *, key: str, name: str, parent_run_id: str | None = None, tags: Mapping[str, str] = {}
    ) -> str:
        found = self._runs_of(key)
        if found:
            run_id = _run_id(found[0])
            if found[0]["info"]["status"] != "RUNNING":
                self._mlflow.post("runs/update", run_id=run_id, status="RUNNING")
            return run_id
        all_tags = {
            **tags,
            KEY_TAG: key,
            "mlflow.user": _user(),
            "mlflow.source.name": "autotrader",
            **({"mlflow.parentRunId": parent_run_id} if parent_run_id else {}),
        }
        made = _run_id(
            self._mlflow.post(
                "runs/create",
                experiment_id=self._require_experiment(),
                run_name=name,
                start_time=_now_ms(),
                tags=_pairs(all_tags),
            )["run"]
        )
        # Two processes that began at once both see two runs now, and agree on the older one.
        first = _run_id(self._runs_of(key)[0])
        if first != made:
            self._mlflow.post("runs/delete", run_id=made)
        return first

    def log(
        self,
        run_id: str,
        *,
        params: Mapping[str, object] = {},
        metrics: Mapping[str, float] = {},
    ) -> None:
        now = _now_ms()
        for some in _chunks(_pairs(params), _PARAMS_PER_BATCH):
            self._log_batch(run_id=run_id, params=some)
        points = [{"key": k, "value": _number(v), "timestamp": now, "step": 0} for k, v in metrics.items()]
        for points_of_batch in _chunks(points, _METRICS_PER_BATCH):
            self._log_batch(run_id=run_id, metrics=points_of_batch)

    def _log_batch(self, **batch: object) -> None:
        try:
            self._mlflow.post("runs/log-batch", **batch)
        except Collided:  # what the other one logged is there now, and is compared
            self._mlflow.post("runs/log-batch", **batch)

    def log_table(self, run_id: str, file_name: str, rows: Mapping[str, list[object]]) -> None:
        table = {"columns": list(rows), "data": [list(row) for row in zip(*rows.values(), strict=True)]}
        self._mlflow.upload(self._artifact_uri(run_id, file_name), json.dumps(table, default=str).encode())
        # The UI's table view lists what this tag names.
        entry = {"path": file_name, "type": "table"}
        named = json.loads(self._tag(run_id, "mlflow.loggedArtifacts") or "[]")
        if entry not in named:
            tag = json.dumps([*named, entry])
            self._mlflow.post("runs/set-tag", run_id=run_id, key="mlflow.loggedArtifacts", value=tag)

    def read_table(self, run_id: str, file_name: str) -> Mapping[str, list[object]]:
        with tempfile.TemporaryDirectory() as folder:
            arrived = Path(folder) / "table.json"
            self._mlflow.download(self._artifact_uri(run_id, file_name), arrived)
            table = json.loads(arrived.read_bytes())
        return {name: [row[k] for row in table["data"]] for k, name in enumerate(table["columns"])}

    def log_file(self, run_id: str, path: Path, folder: str = "") -> None:
        place = f"{folder.strip('/')}/{path.name}".lstrip("/")
        self._mlflow.upload(self._artifact_uri(run_id, place), path.read_bytes())

    def finish(self, run_id: str, *, status: str = "FINISHED") -> None:
        self._mlflow.post("runs/update", run_id=run_id, status=status, end_time=_now_ms())

    def run_url(self, run_id: str) -> str:
        return f"{self._mlflow.uri}/#/experiments/{self._require_experiment()}/runs/{run_id}"

    def _runs_of(self, key: str) -> list[dict[str, Any]]:
        """Runs of the key, oldest first."""
        runs = self._mlflow.pages(
            "POST",
            "runs/search",
            "runs",
            experiment_ids=[self._require_experiment()],
            filter=f"tags.`{KEY_TAG}` = '{_quoted(key)}'",
            max_results=100,
        )
        return sorted(runs, key=lambda run: (run["info"]["start_time"], _run_id(run)))

    def _require_experiment(self) -> str:
        if self._experiment_id is None:
            try:
                found = self._named_experiment()
            except NotFound:
                with contextlib.suppress(AlreadyExists):  # another process was first
                    self._mlflow.post("experiments/create", name=self._experiment, tags=[_KIND])
                found = self._named_experiment()
            if found["lifecycle_stage"] == "deleted":
                self._mlflow.post("experiments/restore", experiment_id=found["experiment_id"])
            self._experiment_id = str(found["experiment_id"])
        return self._experiment_id

    def _named_experiment(self) -> dict[str, Any]:
        answer = self._mlflow.get("experiments/get-by-name", experiment_name=self._experiment)
        experiment: dict[str, Any] = answer["experiment"]
        return experiment

    def _artifact_uri(self, run_id: str, path: str) -> str:
        if run_id not in self._artifact_uris:
            self._artifact_uris[run_id] = self._run(run_id)["info"]["artifact_uri"]
        return f"{self._artifact_uris[run_id]}/{path}"

    def _tag(self, run_id: str, key: str) -> str | None:
        tags = self._run(run_id)["data"].get("tags", [])
        return next((tag["value"] for tag in tags if tag["key"] == key), None)

    def _run(self, run_id: str) -> dict[str, Any]:
        run: dict[str, Any] = self._mlflow.get("runs/get", run_id=run_id)["run"]
        return run


def _run_id(run: Mapping[str, Any]) -> str:
    return str(run["info"]["run_id"])


def _pairs(values: Mapping[str, object]) -> list[dict[str, object]]:
    return [{"key": key, "value": str(value)} for key, value in values.items()]


def _chunks(items: Sequence[Mapping[str, object]], size: int) -> Iterator[Sequence[Mapping[str, object]]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _number(value: float) -> float | str:
    """The value as MLflow's JSON spells it: NaN and the infinities are words there."""
    if math.isfinite(value):
        return float(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _quoted(text: str) -> str:
    if "'" in text:
        raise ValueError(f"expected a run key without quotes, was {text!r}")
    return text


def _user() -> str:
    return getpass.getuser()


def _now_ms() -> int:
    return int(time.time() * 1000)
